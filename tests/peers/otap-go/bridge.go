package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
	pb "github.com/open-telemetry/otel-arrow/go/api/experimental/arrow/v1"
	"github.com/open-telemetry/otel-arrow/go/pkg/config"
	"github.com/open-telemetry/otel-arrow/go/pkg/otel/arrow_record"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
)

type biStream interface {
	Send(*pb.BatchArrowRecords) error
	Recv() (*pb.BatchStatus, error)
}

// sender turns requests into the batches of one stream, and waits for the status of each.
type sender struct {
	mu   sync.Mutex
	prod *arrow_record.Producer
	st   biStream
	acks map[int64]chan *pb.BatchStatus
	amu  sync.Mutex
}

func newSender(st biStream) *sender {
	s := &sender{prod: arrow_record.NewProducerWithOptions(config.WithNoZstd()), st: st, acks: map[int64]chan *pb.BatchStatus{}}
	if os.Getenv("OTAP_ZSTD") != "" {
		s.prod = arrow_record.NewProducerWithOptions(config.WithZstd())
	}
	// The answers come in any order.
	go func() {
		for {
			a, e := st.Recv()
			if e != nil {
				return
			}
			s.amu.Lock()
			ch := s.acks[a.BatchId]
			delete(s.acks, a.BatchId)
			s.amu.Unlock()
			if ch != nil {
				ch <- a
			}
		}
	}()
	return s
}
func (s *sender) send(mk func(*arrow_record.Producer) (*pb.BatchArrowRecords, error)) error {
	s.mu.Lock()
	b, e := mk(s.prod)
	if e != nil {
		s.mu.Unlock()
		return e
	}
	ch := make(chan *pb.BatchStatus, 1)
	s.amu.Lock()
	s.acks[b.BatchId] = ch
	s.amu.Unlock()
	e = s.st.Send(b)
	s.mu.Unlock()
	if e != nil {
		return e
	}
	a := <-ch
	if a.StatusCode != pb.StatusCode_OK {
		return fmt.Errorf("nack %v", a)
	}
	return nil
}

type tsrv struct {
	ptraceotlp.UnimplementedGRPCServer
	s *sender
}

func (t tsrv) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	return ptraceotlp.NewExportResponse(), t.s.send(func(p *arrow_record.Producer) (*pb.BatchArrowRecords, error) {
		return p.BatchArrowRecordsFromTraces(r.Traces())
	})
}

type lsrv struct {
	plogotlp.UnimplementedGRPCServer
	s *sender
}

func (t lsrv) Export(_ context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	return plogotlp.NewExportResponse(), t.s.send(func(p *arrow_record.Producer) (*pb.BatchArrowRecords, error) {
		return p.BatchArrowRecordsFromLogs(r.Logs())
	})
}

type msrv struct {
	pmetricotlp.UnimplementedGRPCServer
	s *sender
}

func (t msrv) Export(_ context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	return pmetricotlp.NewExportResponse(), t.s.send(func(p *arrow_record.Producer) (*pb.BatchArrowRecords, error) {
		return p.BatchArrowRecordsFromMetrics(r.Metrics())
	})
}

// zstdArrow is the codec zstdarrow3 of the Collector's exporter: zstd under a name that tells its level.
type zstdArrow struct{}

func (zstdArrow) Name() string                                 { return "zstdarrow3" }
func (zstdArrow) Compress(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }
func (zstdArrow) Decompress(r io.Reader) (io.Reader, error)    { return zstd.NewReader(r) }

func init() { encoding.RegisterCompressor(zstdArrow{}) }

// bridge takes OTLP over gRPC on a free port of this machine, which it prints, and sends it on as OTel-Arrow to target: one stream a
// signal, as a Collector with an otelarrow exporter. An Export returns once the batch is answered, with an error where that is not OK.
func bridge(target string) {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if codec := os.Getenv("OTAP_CODEC"); codec != "" {
		options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(codec)))
	}
	cc, e := grpc.NewClient(target, options...)
	must(e)
	ctx := context.Background()
	ts, e := pb.NewArrowTracesServiceClient(cc).ArrowTraces(ctx)
	must(e)
	ls, e := pb.NewArrowLogsServiceClient(cc).ArrowLogs(ctx)
	must(e)
	ms, e := pb.NewArrowMetricsServiceClient(cc).ArrowMetrics(ctx)
	must(e)
	l, e := net.Listen("tcp", "127.0.0.1:0")
	must(e)
	g := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(g, &tsrv{s: newSender(ts)})
	plogotlp.RegisterGRPCServer(g, &lsrv{s: newSender(ls)})
	pmetricotlp.RegisterGRPCServer(g, &msrv{s: newSender(ms)})
	fmt.Println(l.Addr().String())
	must(g.Serve(l))
}
