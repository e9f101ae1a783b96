// Go's pdata, the Collector's data model, as a peer of the headline table:
//
//	pdata FILE THREADS   reads lines, each a contender, which then does its work for all of SPANS, and answers as headline_codec does
//	pdata FILE hold      holds all spans of the file as objects and prints {"counted": bytes of the heap after a collection, "resident"}
//
// FILE: OTLP requests, each after its length in four bytes, little-endian. SPANS (environment): how many a turn is for; at most the
// first 200 requests are kept, and gone over several times.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

const heldMax = 200

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "pdata:", err)
		os.Exit(1)
	}
}

func readRequests(path string, most int, take func([]byte)) {
	file, err := os.Open(path)
	must(err)
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	for i := 0; i < most; i++ {
		var size [4]byte
		if _, err := io.ReadFull(reader, size[:]); err == io.EOF {
			return
		} else {
			must(err)
		}
		bytes := make([]byte, binary.LittleEndian.Uint32(size[:]))
		_, err := io.ReadFull(reader, bytes)
		must(err)
		take(bytes)
	}
}

func unmarshal(bytes []byte) ptraceotlp.ExportRequest {
	request := ptraceotlp.NewExportRequest()
	must(request.UnmarshalProto(bytes))
	return request
}

// Digests as digest.h has them.
const (
	placeTraceID = 0x9e3779b97f4a7c15
	placeSpanID  = 0xbf58476d1ce4e5b9
	placeParent  = 0x94d049bb133111eb
	placeName    = 0xd6e8feb86659fd93
	placeKind    = 0xa0761d6478bd642f
	placeStart   = 0xe7037ed1a0b428db
	placeEnd     = 0x8ebc6af09c88c6e3
	placeStatus  = 0x589965cc75374cc3
	placeMessage = 0x1d8e4e27c47d124f
	placeService = 0xeb44accab455d165
	placeKey     = 0x2127599bf4325c37
	placeValue   = 0x880355f21e6d1965
	placeEvent   = 0xff51afd7ed558ccd
	placeLink    = 0xc4ceb9fe1a85ec53
)

func textDigest(text string) uint64 {
	sum := uint64(len(text))
	for ; len(text) >= 8; text = text[8:] {
		sum += uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
	}
	word := uint64(0)
	for i := 0; i < len(text); i++ {
		word = word<<8 | uint64(text[i])
	}
	return sum + word
}

func traceDigest(id pcommon.TraceID) uint64 {
	return binary.LittleEndian.Uint64(id[:8]) + binary.LittleEndian.Uint64(id[8:])
}
func spanDigest(id pcommon.SpanID) uint64 { return binary.LittleEndian.Uint64(id[:]) }

func attributesDigest(attributes pcommon.Map) (sum uint64) {
	for key, value := range attributes.All() {
		sum += placeKey * textDigest(key)
		switch value.Type() {
		case pcommon.ValueTypeStr:
			sum += placeValue * textDigest(value.Str())
		case pcommon.ValueTypeInt:
			sum += placeValue * uint64(value.Int())
		case pcommon.ValueTypeDouble:
			sum += placeValue * math.Float64bits(value.Double())
		}
	}
	return
}

func digest(request ptraceotlp.ExportRequest) (sum uint64) {
	for _, resource := range request.Traces().ResourceSpans().All() {
		service := uint64(0)
		if name, ok := resource.Resource().Attributes().Get("service.name"); ok {
			service = textDigest(name.Str())
		}
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				sum += placeTraceID*traceDigest(span.TraceID()) + placeSpanID*spanDigest(span.SpanID()) +
					placeParent*spanDigest(span.ParentSpanID()) + placeName*textDigest(span.Name()) +
					placeKind*uint64(span.Kind()) + placeStart*uint64(span.StartTimestamp()) + placeEnd*uint64(span.EndTimestamp()) +
					placeStatus*uint64(span.Status().Code()) + placeMessage*textDigest(span.Status().Message()) +
					placeService*service + attributesDigest(span.Attributes())
				for _, event := range span.Events().All() {
					sum += placeEvent*(uint64(event.Timestamp())+textDigest(event.Name())) + attributesDigest(event.Attributes())
				}
				for _, link := range span.Links().All() {
					sum += placeLink*(traceDigest(link.TraceID())+spanDigest(link.SpanID())) + attributesDigest(link.Attributes())
				}
			}
		}
	}
	return
}

func cpuNs() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

func residentBytes() int64 {
	bytes, err := os.ReadFile("/proc/self/statm")
	must(err)
	pages, err := strconv.ParseInt(strings.Fields(string(bytes))[1], 10, 64)
	must(err)
	return pages * int64(os.Getpagesize())
}

func hold(path string) {
	var held []ptraceotlp.ExportRequest
	resident := residentBytes()
	readRequests(path, math.MaxInt, func(bytes []byte) { held = append(held, unmarshal(bytes)) })
	debug.FreeOSMemory()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	fmt.Printf("{\"counted\": %d, \"resident\": %d}\n", memory.HeapAlloc, residentBytes()-resident)
	runtime.KeepAlive(held)
}

func main() {
	if len(os.Args) != 3 {
		must(fmt.Errorf("usage: pdata FILE THREADS | FILE hold"))
	}
	if os.Args[2] == "hold" {
		hold(os.Args[1])
		return
	}
	threads, err := strconv.Atoi(os.Args[2])
	must(err)
	spans, err := strconv.Atoi(os.Getenv("SPANS"))
	must(err)
	runtime.GOMAXPROCS(threads)
	var requests [][]byte
	var objects []ptraceotlp.ExportRequest
	perRequest := 0
	readRequests(os.Args[1], heldMax, func(bytes []byte) {
		requests = append(requests, bytes)
		objects = append(objects, unmarshal(bytes))
		perRequest = objects[0].Traces().SpanCount()
	})
	contenders := map[string]func(int) uint64{
		"objects_to_bytes": func(i int) uint64 {
			_, err := objects[i].MarshalProto()
			must(err)
			return 0
		},
		"bytes_to_objects": func(i int) uint64 { unmarshal(requests[i]); return 0 },
		"bytes_to_values":  func(i int) uint64 { return digest(unmarshal(requests[i])) },
	}
	fmt.Println(`{"ready": true}`)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() && lines.Text() != "exit" {
		contender, ok := contenders[lines.Text()]
		if !ok {
			fmt.Printf("{\"error\": \"no contender '%s'\"}\n", lines.Text())
			continue
		}
		digests := make([]uint64, threads)
		var done sync.WaitGroup
		cpu, begin := cpuNs(), time.Now()
		for t := 0; t < threads; t++ {
			done.Add(1)
			go func() {
				defer done.Done()
				for i := t; i < spans/perRequest; i += threads {
					digests[t] += contender(i % len(requests))
				}
			}()
		}
		done.Wait()
		ns := float64(time.Since(begin).Nanoseconds())
		sum := uint64(0)
		for _, one := range digests {
			sum += one
		}
		fmt.Printf("{\"ns\": %.2f, \"cpu_ns\": %.2f, \"digest\": \"%016x\"}\n", ns/float64(spans), (cpuNs()-cpu)/float64(spans), sum)
	}
}
