// The Go library of OTel-Arrow, which the Collector's components use, as a peer of tests and benchmarks:
//
//	otap-go bridge ADDRESS                takes OTLP and sends OTel-Arrow to ADDRESS
//	otap-go twins FOLDER BATCHES RECORDS  writes streams and the OTLP that they encode
//	otap-go sink SIGNAL STREAM OTLP       reads a stream and writes the OTLP that it encodes
//	otap-go encode FILE FOLDER STREAMS MOST  encodes the first MOST OTLP trace requests of a file
//	otap-go produce OTLP REPETITIONS      times its producer on traces
package main

import (
	"fmt"
	"os"
)

func must(e error) {
	if e != nil {
		panic(e)
	}
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "bridge":
		bridge(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "twins":
		var batches, records int
		_, e := fmt.Sscan(os.Args[3]+" "+os.Args[4], &batches, &records)
		must(e)
		twins(os.Args[2], batches, records)
	case len(os.Args) == 5 && os.Args[1] == "sink":
		sink(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 6 && os.Args[1] == "encode":
		var streams, most int
		_, e := fmt.Sscan(os.Args[4]+" "+os.Args[5], &streams, &most)
		must(e)
		encode(os.Args[2], os.Args[3], streams, most)
	case len(os.Args) == 4 && os.Args[1] == "produce":
		var repetitions int
		_, e := fmt.Sscan(os.Args[3], &repetitions)
		must(e)
		produce(os.Args[2], repetitions)
	default:
		fmt.Fprintln(os.Stderr, "usage: otap-go bridge ADDRESS | twins FOLDER BATCHES RECORDS | sink SIGNAL STREAM OTLP | "+
			"encode FILE FOLDER STREAMS MOST | produce OTLP REPETITIONS")
		os.Exit(2)
	}
}
