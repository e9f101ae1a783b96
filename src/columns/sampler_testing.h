/// What OpenTelemetry's collector decides (its package pkg/sampling, v0.165.1), written by tests/golden/sampling/main.go.

#pragma once

#include <cstdint>

namespace sheaf::columns {

/// For a probability, rounded to `digits`: the threshold, its text in a trace state, how many of 1,000,000 ids are kept, and the
/// CRC-32C of the decisions, a bit an id. The ids are two numbers of splitmix64 each, in big-endian bytes.
struct CollectorDecisions {
  double probability;
  int digits;
  uint64_t threshold;
  const char* text;
  int64_t kept;
  uint32_t crc;
};

inline constexpr CollectorDecisions kCollectorDecisions[] = {
    {1, 14, 0x0, "0", 1000000, 0xa0586bbe},
    {1, 4, 0x0, "0", 1000000, 0xa0586bbe},
    {1, 1, 0x0, "0", 1000000, 0xa0586bbe},
    {0.999999, 14, 0x10c6f7a0b8, "000010c6f7a0b8", 1000000, 0xa0586bbe},
    {0.999999, 4, 0x10c7000000, "000010c7", 1000000, 0xa0586bbe},
    {0.999999, 1, 0x1000000000, "00001", 1000000, 0xa0586bbe},
    {0.99, 14, 0x28f5c28f5c290, "028f5c28f5c29", 990212, 0xc094e789},
    {0.99, 4, 0x28f6000000000, "028f6", 990212, 0xc094e789},
    {0.99, 1, 0x3000000000000, "03", 988538, 0x908b57e3},
    {0.9, 14, 0x19999999999998, "19999999999998", 900221, 0x7f6da40c},
    {0.9, 4, 0x199a0000000000, "199a", 900210, 0x092ac482},
    {0.9, 1, 0x20000000000000, "2", 875170, 0x03d42b93},
    {0.75, 14, 0x40000000000000, "4", 750263, 0xfff36f1f},
    {0.75, 4, 0x40000000000000, "4", 750263, 0xfff36f1f},
    {0.75, 1, 0x40000000000000, "4", 750263, 0xfff36f1f},
    {0.5, 14, 0x80000000000000, "8", 499608, 0x10eef121},
    {0.5, 4, 0x80000000000000, "8", 499608, 0x10eef121},
    {0.5, 1, 0x80000000000000, "8", 499608, 0x10eef121},
    {0.3333333333333333, 14, 0xaaaaaaaaaaaaac, "aaaaaaaaaaaaac", 332614, 0x748aa3a7},
    {0.3333333333333333, 4, 0xaaab0000000000, "aaab", 332607, 0x08174389},
    {0.3333333333333333, 1, 0xb0000000000000, "b", 311661, 0x5be384ba},
    {0.25, 14, 0xc0000000000000, "c", 249628, 0xb95ede53},
    {0.25, 4, 0xc0000000000000, "c", 249628, 0xb95ede53},
    {0.25, 1, 0xc0000000000000, "c", 249628, 0xb95ede53},
    {0.2, 14, 0xcccccccccccccc, "cccccccccccccc", 199631, 0x5c6b3b85},
    {0.2, 4, 0xcccd0000000000, "cccd", 199623, 0xde3eba15},
    {0.2, 1, 0xd0000000000000, "d", 187192, 0xaff32af7},
    {0.1, 14, 0xe6666666666666, "e6666666666666", 99645, 0xefcf8623},
    {0.1, 4, 0xe6660000000000, "e666", 99650, 0x7b292590},
    {0.1, 1, 0xe0000000000000, "e", 124564, 0xcf92456f},
    {0.0625, 14, 0xf0000000000000, "f", 62072, 0x8c03d215},
    {0.0625, 4, 0xf0000000000000, "f", 62072, 0x8c03d215},
    {0.0625, 1, 0xf0000000000000, "f", 62072, 0x8c03d215},
    {0.06, 14, 0xf0a3d70a3d70a4, "f0a3d70a3d70a4", 59546, 0xf366fe1c},
    {0.06, 4, 0xf0a3d000000000, "f0a3d", 59546, 0xf366fe1c},
    {0.06, 1, 0xf1000000000000, "f1", 58182, 0x15e9fa8d},
    {0.05, 14, 0xf3333333333333, "f3333333333333", 49542, 0x3ca55f88},
    {0.05, 4, 0xf3333000000000, "f3333", 49543, 0x1a42f870},
    {0.05, 1, 0xf3000000000000, "f3", 50368, 0x17f609a9},
    {0.01, 14, 0xfd70a3d70a3d71, "fd70a3d70a3d71", 9908, 0x50859098},
    {0.01, 4, 0xfd70a000000000, "fd70a", 9909, 0x0d712122},
    {0.01, 1, 0xfd000000000000, "fd", 11620, 0x7d89cdbb},
    {0.003, 14, 0xff3b645a1cac08, "ff3b645a1cac08", 3021, 0x5f8edfc3},
    {0.003, 4, 0xff3b6400000000, "ff3b64", 3021, 0x5f8edfc3},
    {0.003, 1, 0xff400000000000, "ff4", 2936, 0x4e3634bf},
    {0.001, 14, 0xffbe76c8b43958, "ffbe76c8b43958", 1023, 0xa1395f95},
    {0.001, 4, 0xffbe7700000000, "ffbe77", 1023, 0xa1395f95},
    {0.001, 1, 0xffc00000000000, "ffc", 995, 0x225a4cb7},
    {0.0001, 14, 0xfff972474538ef, "fff972474538ef", 96, 0x7a508639},
    {0.0001, 4, 0xfff97240000000, "fff9724", 96, 0x7a508639},
    {0.0001, 1, 0xfff90000000000, "fff9", 107, 0x7a1bd896},
    {1e-05, 14, 0xffff583a53b8e5, "ffff583a53b8e5", 10, 0x254eb9e4},
    {1e-05, 4, 0xffff583a000000, "ffff583a", 10, 0x254eb9e4},
    {1e-05, 1, 0xffff6000000000, "ffff6", 9, 0x23c95eb6},
    {9.5367431640625e-07, 14, 0xfffff000000000, "fffff", 0, 0xf56bb243},
    {9.5367431640625e-07, 4, 0xfffff000000000, "fffff", 0, 0xf56bb243},
    {9.5367431640625e-07, 1, 0xfffff000000000, "fffff", 0, 0xf56bb243},
    {1.3877787807814457e-17, 14, 0xffffffffffffff, "ffffffffffffff", 0, 0xf56bb243},
    {1.3877787807814457e-17, 4, 0xffffffffffffff, "ffffffffffffff", 0, 0xf56bb243},
    {1.3877787807814457e-17, 1, 0xffffffffffffff, "ffffffffffffff", 0, 0xf56bb243},
};

}  // namespace sheaf::columns
