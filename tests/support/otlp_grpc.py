"""The OTLP services' gRPC stubs by signal."""

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

STUBS = {"traces": trace_service_pb2_grpc.TraceServiceStub, "logs": logs_service_pb2_grpc.LogsServiceStub,
         "metrics": metrics_service_pb2_grpc.MetricsServiceStub}
RESPONSES = {"traces": trace_service_pb2.ExportTraceServiceResponse, "logs": logs_service_pb2.ExportLogsServiceResponse,
             "metrics": metrics_service_pb2.ExportMetricsServiceResponse}


def stub(channel, signal_name):
    return STUBS[signal_name](channel)


def response_of(signal_name):
    return RESPONSES[signal_name]
