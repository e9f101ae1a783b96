/// Damaged cold parts (Parquet files) and their indexes: an error or the right rows; and, where the checksums are made to fit, never a
/// crash. What the bytes of an input mean: part_damage_testing.h.

#include "parts/part_damage_testing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sheaf::parts::FuzzPart(sheaf::parts::Format::kCold, {data, size});
  return 0;
}
