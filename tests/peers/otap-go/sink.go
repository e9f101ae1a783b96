package main

import (
	"fmt"
	"math"
	"os"
	"strings"

	pb "github.com/open-telemetry/otel-arrow/go/api/experimental/arrow/v1"
	"github.com/open-telemetry/otel-arrow/go/pkg/otel/arrow_record"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"
)

// readCapture returns the messages of a file that capture writes.
func readCapture(path string) [][]byte {
	var out [][]byte
	eachMessage(path, math.MaxInt, func(d []byte) { out = append(out, d) })
	return out
}

// decode reads one batch with the Collector's consumer and returns it as OTLP requests, one a message that it makes of it.
func decode(c *arrow_record.Consumer, signal string, b *pb.BatchArrowRecords) ([][]byte, error) {
	var out [][]byte
	switch signal {
	case "traces":
		x, e := c.TracesFrom(b)
		if e != nil {
			return nil, e
		}
		for _, t := range x {
			d, e := (&ptrace.ProtoMarshaler{}).MarshalTraces(t)
			must(e)
			out = append(out, d)
		}
	case "logs":
		x, e := c.LogsFrom(b)
		if e != nil {
			return nil, e
		}
		for _, t := range x {
			d, e := (&plog.ProtoMarshaler{}).MarshalLogs(t)
			must(e)
			out = append(out, d)
		}
	case "metrics":
		x, e := c.MetricsFrom(b)
		if e != nil {
			return nil, e
		}
		for _, t := range x {
			d, e := (&pmetric.ProtoMarshaler{}).MarshalMetrics(t)
			must(e)
			out = append(out, d)
		}
	default:
		return nil, fmt.Errorf("no signal %q", signal)
	}
	return out, nil
}

// sink reads the stream in a file, as a Collector with an otelarrow receiver does, and writes the OTLP requests of its batches. The
// first batch that is refused ends the program.
func sink(signal, in, out string) {
	c := arrow_record.NewConsumer()
	otlp := newCapture(out)
	for i, m := range readCapture(in) {
		b := &pb.BatchArrowRecords{}
		must(proto.Unmarshal(m, b))
		requests, e := decode(c, signal, b)
		if e != nil {
			var types []string
			for _, p := range b.ArrowPayloads {
				types = append(types, p.Type.String())
			}
			fmt.Fprintf(os.Stderr, "batch %d of %s (%s): %v\n", i, in, strings.Join(types, " "), e)
			os.Exit(1)
		}
		for _, d := range requests {
			otlp.add(d)
		}
	}
	must(otlp.f.Close())
	must(c.Close())
}
