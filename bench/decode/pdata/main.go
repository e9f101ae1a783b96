// What Go's pdata, the Collector's data model, needs to unmarshal the requests that
// decode_comparison --write stored: [u32 length, little-endian][request] each.
//
//	go run . FILE [repetitions]
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, "pdata:", err)
	os.Exit(1)
}

func readRequests(path string) [][]byte {
	bytes, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	var requests [][]byte
	for len(bytes) >= 4 {
		size := int(binary.LittleEndian.Uint32(bytes))
		requests = append(requests, bytes[4:4+size])
		bytes = bytes[4+size:]
	}
	return requests
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: pdata FILE [repetitions]"))
	}
	requests := readRequests(os.Args[1])
	repetitions := 7
	if len(os.Args) > 2 {
		n, err := strconv.Atoi(os.Args[2])
		if err != nil || n < 1 {
			fail(fmt.Errorf("repetitions must be a positive number"))
		}
		repetitions = n
	}
	var all []float64
	for repetition := -1; repetition < repetitions; repetition++ { // The first warms up.
		spans := 0
		begin := time.Now()
		for _, bytes := range requests {
			request := ptraceotlp.NewExportRequest()
			if err := request.UnmarshalProto(bytes); err != nil {
				fail(err)
			}
			spans += request.Traces().SpanCount()
		}
		if repetition >= 0 {
			all = append(all, float64(time.Since(begin).Nanoseconds())/float64(spans))
		}
	}
	sort.Float64s(all)
	fmt.Printf("pdata cold             min %7.1f  median %7.1f  max %7.1f ns/span\n", all[0], all[len(all)/2], all[len(all)-1])
}
