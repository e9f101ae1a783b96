/// Work in pieces, on several threads: for short work that a caller waits for.

#pragma once

#include <cstddef>
#include <functional>

namespace sheaf {

/// Calls work(0) to work(pieces - 1), each once and in no order, on up to `threads` threads, the caller's among them; returns when
/// all are done. Starts threads of its own, which takes some 20 µs each: for milliseconds of work. Where one cannot be started,
/// those that are there do its work. What `work` throws is thrown on, once no piece runs any more; pieces not yet begun are then
/// left out.
void RunPieces(int threads, size_t pieces, const std::function<void(size_t)>& work);

}  // namespace sheaf
