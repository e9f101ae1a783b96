package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/open-telemetry/otel-arrow/go/pkg/config"
	"github.com/open-telemetry/otel-arrow/go/pkg/otel/arrow_record"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"
)

// eachMessage calls take for each message of a file that capture wrote, up to most of them.
func eachMessage(path string, most int, take func([]byte)) {
	f, e := os.Open(path)
	must(e)
	defer f.Close()
	for i := 0; i < most; i++ {
		var h [4]byte
		if _, e := io.ReadFull(f, h[:]); e == io.EOF {
			return
		} else {
			must(e)
		}
		d := make([]byte, binary.LittleEndian.Uint32(h[:]))
		_, e = io.ReadFull(f, d)
		must(e)
		take(d)
	}
}

// encode turns OTLP trace requests into OTel-Arrow: of the first `most` requests of a file, number i goes to stream i % streams, which
// is written to FOLDER/otap-N.bin. NOZSTD as for twins.
func encode(path, dir string, streams, most int) {
	opt := config.WithZstd()
	if os.Getenv("NOZSTD") != "" {
		opt = config.WithNoZstd()
	}
	var producers []*arrow_record.Producer
	var captures []*capture
	for i := 0; i < streams; i++ {
		producers = append(producers, arrow_record.NewProducerWithOptions(opt))
		captures = append(captures, newCapture(fmt.Sprintf("%s/otap-%d.bin", dir, i)))
	}
	i := 0
	eachMessage(path, most, func(d []byte) {
		t, e := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(d)
		must(e)
		b, e := producers[i%streams].BatchArrowRecordsFromTraces(t)
		must(e)
		m, e := proto.Marshal(b)
		must(e)
		captures[i%streams].add(m)
		i++
	})
	for _, c := range captures {
		must(c.f.Close())
	}
}
