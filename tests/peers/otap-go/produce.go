package main

import (
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/open-telemetry/otel-arrow/go/pkg/config"
	"github.com/open-telemetry/otel-arrow/go/pkg/otel/arrow_record"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"
)

// produce times the Collector's producer on the traces of a file of OTLP requests: objects that are there already to OTel-Arrow
// bytes, each repetition a new stream. NOZSTD leaves the buffers inside plain.
func produce(path string, repetitions int) {
	var batches []ptrace.Traces
	spans := 0
	for _, m := range readCapture(path) {
		t, e := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(m)
		must(e)
		batches = append(batches, t)
		spans += t.SpanCount()
	}
	opt := config.WithZstd()
	if os.Getenv("NOZSTD") != "" {
		opt = config.WithNoZstd()
	}
	var ns []float64
	bytes := 0
	for i := 0; i < repetitions; i++ {
		p := arrow_record.NewProducerWithOptions(opt)
		bytes = 0
		begin := time.Now()
		for _, t := range batches {
			b, e := p.BatchArrowRecordsFromTraces(t)
			must(e)
			d, e := proto.Marshal(b)
			must(e)
			bytes += len(d)
		}
		ns = append(ns, float64(time.Since(begin).Nanoseconds())/float64(spans))
		must(p.Close())
	}
	sort.Float64s(ns)
	fmt.Printf("Go to otap: min %.1f median %.1f max %.1f ns/span, %.1f bytes/span\n", ns[0], ns[len(ns)/2], ns[len(ns)-1],
		float64(bytes)/float64(spans))
}
