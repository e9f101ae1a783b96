// Decisions of the sampling package of OpenTelemetry's collector, for src/columns/sampler_testing.h (`go mod tidy && go run .`): for each rate and precision the threshold, its
// text, how many of 1,000,000 ids are kept, and the CRC-32C of the decisions, a bit an id. Ids are two numbers of splitmix64, big-endian.
package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/sampling"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

const ids = 1_000_000

var rates = []float64{1, 0.999999, 0.99, 0.9, 0.75, 0.5, 1.0 / 3, 0.25, 0.2, 0.1, 0.0625, 0.06, 0.05, 0.01, 0.003, 0.001, 1e-4, 1e-5, 0x1p-20, 0x1p-56}

func main() {
	var state uint64
	next := func() uint64 {
		state += 0x9E3779B97F4A7C15
		z := state
		z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
		z = (z ^ (z >> 27)) * 0x94D049BB133111EB
		return z ^ (z >> 31)
	}
	randomness := make([]sampling.Randomness, ids)
	for i := range randomness {
		var id pcommon.TraceID
		binary.BigEndian.PutUint64(id[:8], next())
		binary.BigEndian.PutUint64(id[8:], next())
		randomness[i] = sampling.TraceIDToRandomness(id)
	}
	for _, rate := range rates {
		for _, digits := range []int{14, 4, 1} {
			threshold, err := sampling.ProbabilityToThresholdWithPrecision(rate, digits)
			if err != nil {
				panic(err)
			}
			decisions := make([]byte, ids/8)
			kept := 0
			for i, r := range randomness {
				if threshold.ShouldSample(r) {
					decisions[i/8] |= 1 << (i % 8)
					kept++
				}
			}
			fmt.Printf("    {%v, %d, 0x%x, \"%s\", %d, 0x%08x},\n", rate, digits, threshold.Unsigned(), threshold.TValue(), kept,
				crc32.Checksum(decisions, crc32.MakeTable(crc32.Castagnoli)))
		}
	}
}
