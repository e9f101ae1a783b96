/// Copies the values of a column that dead rows lie between, so that the living ones follow each other.

#pragma once

#include <cstdint>

namespace sheaf::query {

/// Copies the values of the rows that are not dead, of `rows` from `from` on, to `to`, which has room for `room` values and so
/// for all that live; behind the last of them it may write more, within that room. `dead`: a bit a row, least significant
/// first, in words of 64.
void CopyLiving(const uint32_t* from, const uint64_t* dead, int64_t rows, uint32_t* to, int64_t room);
void CopyLiving(const uint64_t* from, const uint64_t* dead, int64_t rows, uint64_t* to, int64_t room);

/// The same in the way of processors without AVX2.
void CopyLivingOneByOne(const uint32_t* from, const uint64_t* dead, int64_t rows, uint32_t* to, int64_t room);
void CopyLivingOneByOne(const uint64_t* from, const uint64_t* dead, int64_t rows, uint64_t* to, int64_t room);

}  // namespace sheaf::query
