package main

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"

	pb "github.com/open-telemetry/otel-arrow/go/api/experimental/arrow/v1"
	"github.com/open-telemetry/otel-arrow/go/pkg/config"
	"github.com/open-telemetry/otel-arrow/go/pkg/otel/arrow_record"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"
)

var rng = rand.New(rand.NewSource(7))

func rb(n int) []byte          { b := make([]byte, n); rng.Read(b); return b }
func tid() (t pcommon.TraceID) { copy(t[:], rb(16)); return }
func sid() (t pcommon.SpanID)  { copy(t[:], rb(8)); return }

func anyAttrs(m pcommon.Map, i int) {
	m.PutStr("s", fmt.Sprint("v", i%3))
	m.PutInt("i", int64(i%5))
	m.PutDouble("d", float64(i)/2)
	m.PutBool("b", i%2 == 0)
	m.PutEmptyBytes("by").FromRaw([]byte{byte(i), 2, 3})
	sl := m.PutEmptySlice("sl")
	sl.AppendEmpty().SetInt(1)
	sl.AppendEmpty().SetStr("x")
	mm := m.PutEmptyMap("m")
	mm.PutStr("k", "v")
	m.PutEmpty("empty")
}

func richTraces(nres, nspan int, salt int) ptrace.Traces {
	t := ptrace.NewTraces()
	for r := 0; r < nres; r++ {
		rs := t.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl("http://rs")
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprint("svc", r))
		rs.Resource().SetDroppedAttributesCount(uint32(r))
		for s := 0; s < 2; s++ {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName(fmt.Sprint("lib", s))
			ss.Scope().SetVersion("1")
			ss.Scope().Attributes().PutStr("sa", fmt.Sprint(s))
			for i := 0; i < nspan; i++ {
				sp := ss.Spans().AppendEmpty()
				sp.SetName(fmt.Sprint("op", (i+salt)%4))
				sp.SetTraceID(tid())
				sp.SetSpanID(sid())
				sp.SetParentSpanID(sid())
				sp.SetKind(ptrace.SpanKind(i % 6))
				sp.SetStartTimestamp(pcommon.Timestamp(1700000000000000000 + i))
				sp.SetEndTimestamp(pcommon.Timestamp(1700000000000000000 + i*7))
				sp.Status().SetCode(ptrace.StatusCode(i % 3))
				if i%3 == 2 {
					sp.Status().SetMessage("bad")
				}
				sp.TraceState().FromRaw("a=b")
				sp.SetFlags(uint32(i))
				sp.SetDroppedEventsCount(1)
				anyAttrs(sp.Attributes(), i)
				if salt > 0 {
					sp.Attributes().PutStr(fmt.Sprint("new", salt), fmt.Sprint(salt))
				}
				for e := 0; e < i%3; e++ {
					ev := sp.Events().AppendEmpty()
					ev.SetName(fmt.Sprint("ev", e))
					ev.SetTimestamp(pcommon.Timestamp(1700000000000000000 + e))
					ev.Attributes().PutInt("e", int64(e))
				}
				for e := 0; e < i%2; e++ {
					l := sp.Links().AppendEmpty()
					l.SetTraceID(tid())
					l.SetSpanID(sid())
					l.Attributes().PutStr("l", "x")
				}
			}
		}
	}
	return t
}
func richLogs(n int) plog.Logs {
	t := plog.NewLogs()
	for r := 0; r < 2; r++ {
		rl := t.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", fmt.Sprint("svc", r))
		sl := rl.ScopeLogs().AppendEmpty()
		sl.Scope().SetName("lib")
		for i := 0; i < n; i++ {
			l := sl.LogRecords().AppendEmpty()
			l.SetTimestamp(pcommon.Timestamp(1700000000000000000 + i))
			l.SetObservedTimestamp(pcommon.Timestamp(1700000000000000000 + i))
			l.SetSeverityNumber(plog.SeverityNumber(1 + i%24))
			l.SetSeverityText("INFO")
			l.SetTraceID(tid())
			l.SetSpanID(sid())
			switch i % 5 {
			case 0:
				l.Body().SetStr(fmt.Sprint("msg ", i))
			case 1:
				l.Body().SetInt(int64(i))
			case 2:
				l.Body().SetEmptyMap().PutStr("a", "b")
			case 3:
				l.Body().SetDouble(1.5)
			}
			if i%4 != 3 {
				anyAttrs(l.Attributes(), i)
			}
		}
	}
	return t
}
func richMetrics(n int) pmetric.Metrics {
	t := pmetric.NewMetrics()
	rm := t.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "svc")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("lib")
	ex := func(e pmetric.ExemplarSlice, i int) {
		x := e.AppendEmpty()
		x.SetIntValue(int64(i % 3))
		x.SetTimestamp(1700000000000000000)
		x.SetTraceID(tid())
		x.SetSpanID(sid())
		x.FilteredAttributes().PutStr("f", "1")
	}
	for k := 0; k < 5; k++ {
		m := sm.Metrics().AppendEmpty()
		m.SetName(fmt.Sprint("m", k))
		m.SetUnit("1")
		m.SetDescription("d")
		m.Metadata().PutStr("meta", "x")
		for i := 0; i < n; i++ {
			ts := pcommon.Timestamp(1700000000000000000 + i)
			switch k {
			case 0:
				if i == 0 {
					m.SetEmptyGauge()
				}
				p := m.Gauge().DataPoints().AppendEmpty()
				p.SetTimestamp(ts)
				p.SetDoubleValue(float64(i))
				p.Attributes().PutStr("host", fmt.Sprint(i%4))
			case 1:
				if i == 0 {
					m.SetEmptySum().SetIsMonotonic(true)
					m.Sum().SetAggregationTemporality(2)
				}
				p := m.Sum().DataPoints().AppendEmpty()
				p.SetTimestamp(ts)
				p.SetStartTimestamp(ts)
				p.SetIntValue(int64(i))
				p.Attributes().PutStr("host", fmt.Sprint(i%4))
				ex(p.Exemplars(), i)
			case 2:
				if i == 0 {
					m.SetEmptyHistogram().SetAggregationTemporality(1)
				}
				p := m.Histogram().DataPoints().AppendEmpty()
				p.SetTimestamp(ts)
				p.SetCount(3)
				p.SetSum(4)
				p.SetMin(1)
				p.SetMax(2)
				p.BucketCounts().FromRaw([]uint64{1, 2})
				p.ExplicitBounds().FromRaw([]float64{1})
				p.Attributes().PutStr("host", fmt.Sprint(i%4))
				ex(p.Exemplars(), i)
			case 3:
				if i == 0 {
					m.SetEmptyExponentialHistogram().SetAggregationTemporality(1)
				}
				p := m.ExponentialHistogram().DataPoints().AppendEmpty()
				p.SetTimestamp(ts)
				p.SetCount(3)
				p.SetSum(4)
				p.SetScale(2)
				p.SetZeroCount(1)
				p.Positive().SetOffset(1)
				p.Positive().BucketCounts().FromRaw([]uint64{1, 2})
				p.Attributes().PutStr("host", fmt.Sprint(i%4))
				ex(p.Exemplars(), i)
			case 4:
				if i == 0 {
					m.SetEmptySummary()
				}
				p := m.Summary().DataPoints().AppendEmpty()
				p.SetTimestamp(ts)
				p.SetCount(3)
				p.SetSum(4)
				q := p.QuantileValues().AppendEmpty()
				q.SetQuantile(.5)
				q.SetValue(2)
				p.Attributes().PutStr("host", fmt.Sprint(i%4))
			}
		}
	}
	return t
}

// capture is a file of messages, each after its length in four bytes, little-endian.
type capture struct{ f *os.File }

func newCapture(p string) *capture { f, e := os.Create(p); must(e); return &capture{f: f} }
func (c *capture) add(d []byte) {
	var h [4]byte
	binary.LittleEndian.PutUint32(h[:], uint32(len(d)))
	_, e := c.f.Write(append(h[:], d...))
	must(e)
}

func benchTraces(n int) ptrace.Traces {
	t := ptrace.NewTraces()
	for s := 0; s < 10; s++ {
		rs := t.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", fmt.Sprintf("service-%d", s))
		rs.Resource().Attributes().PutStr("service.namespace", "shop")
		rs.Resource().Attributes().PutStr("host.name", fmt.Sprintf("host-%d", s))
		ss := rs.ScopeSpans().AppendEmpty()
		ss.Scope().SetName("io.opentelemetry.http")
		ss.Scope().SetVersion("1.2.3")
		for i := 0; i < n/10; i++ {
			sp := ss.Spans().AppendEmpty()
			k := rng.Intn(100)
			sp.SetName(fmt.Sprintf("GET /api/v1/op/%d", k))
			sp.SetTraceID(tid())
			sp.SetSpanID(sid())
			sp.SetParentSpanID(sid())
			sp.SetKind(ptrace.SpanKindServer)
			st := 1700000000000000000 + int64(i)*1000 + int64(rng.Intn(1000))
			sp.SetStartTimestamp(pcommon.Timestamp(st))
			sp.SetEndTimestamp(pcommon.Timestamp(st + int64(rng.Intn(100000000))))
			a := sp.Attributes()
			a.PutStr("http.request.method", "GET")
			a.PutStr("url.path", fmt.Sprintf("/api/v1/op/%d", k))
			a.PutInt("http.response.status_code", int64(200+100*rng.Intn(4)))
			a.PutStr("server.address", fmt.Sprintf("10.0.0.%d", rng.Intn(50)))
			a.PutInt("server.port", 8080)
			a.PutStr("user.id", fmt.Sprintf("user-%d", rng.Intn(10000)))
		}
	}
	return t
}

// twins writes for each signal a stream and, batch by batch, the OTLP that it encodes. Salted batches bring new keys and values:
// schema resets and dictionary deltas.
func twins(dir string, batches, records int) {
	must(os.MkdirAll(dir, 0o755))
	opt := config.WithZstd()
	if os.Getenv("NOZSTD") != "" {
		opt = config.WithNoZstd()
	}
	pair := func(name string, batch func(*arrow_record.Producer, int) (*pb.BatchArrowRecords, []byte)) {
		p := arrow_record.NewProducerWithOptions(opt)
		otap, otlp := newCapture(dir+"/"+name+".otap"), newCapture(dir+"/"+name+".otlp")
		for i := 0; i < batches; i++ {
			b, d := batch(p, i)
			m, e := proto.Marshal(b)
			must(e)
			otap.add(m)
			otlp.add(d)
		}
		must(otap.f.Close())
		must(otlp.f.Close())
	}
	pair("traces", func(p *arrow_record.Producer, i int) (*pb.BatchArrowRecords, []byte) {
		t := richTraces(2, records*(i+1), i)
		d, e := (&ptrace.ProtoMarshaler{}).MarshalTraces(t)
		must(e)
		b, e := p.BatchArrowRecordsFromTraces(t)
		must(e)
		return b, d
	})
	pair("logs", func(p *arrow_record.Producer, i int) (*pb.BatchArrowRecords, []byte) {
		t := richLogs(records * (i + 1))
		d, e := (&plog.ProtoMarshaler{}).MarshalLogs(t)
		must(e)
		b, e := p.BatchArrowRecordsFromLogs(t)
		must(e)
		return b, d
	})
	pair("metrics", func(p *arrow_record.Producer, i int) (*pb.BatchArrowRecords, []byte) {
		t := richMetrics(records * (i + 1))
		d, e := (&pmetric.ProtoMarshaler{}).MarshalMetrics(t)
		must(e)
		b, e := p.BatchArrowRecordsFromMetrics(t)
		must(e)
		return b, d
	})
	pair("bench", func(p *arrow_record.Producer, i int) (*pb.BatchArrowRecords, []byte) {
		t := benchTraces(records * 10)
		d, e := (&ptrace.ProtoMarshaler{}).MarshalTraces(t)
		must(e)
		b, e := p.BatchArrowRecordsFromTraces(t)
		must(e)
		return b, d
	})
}
