#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace sheaf {
namespace {

/// Takes pieces until there are none; what the first piece that fails throws is kept.
class Pieces {
 public:
  Pieces(size_t count, const std::function<void(size_t)>& work) : count_(count), work_(work) {}

  void Run() {
    try {
      for (size_t piece; (piece = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) work_(piece);
    } catch (...) {
      next_.store(count_, std::memory_order_relaxed);
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }
  /// Once all threads have ended.
  void Rethrow() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

 private:
  const size_t count_;
  const std::function<void(size_t)>& work_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // Written by the one that set failed_.
};

}  // namespace

void RunPieces(int threads, size_t pieces, const std::function<void(size_t)>& work) {
  const size_t wanted = std::min(static_cast<size_t>(std::max(threads, 1)), pieces);
  if (wanted <= 1) {
    for (size_t piece = 0; piece < pieces; ++piece) work(piece);
    return;
  }
  Pieces all(pieces, work);
  std::vector<std::thread> others;
  others.reserve(wanted - 1);
  try {
    while (others.size() < wanted - 1) others.emplace_back([&all] { all.Run(); });
  } catch (const std::system_error&) {
    // No more threads to be had: those that are there take all pieces.
  }
  all.Run();
  for (std::thread& other : others) other.join();
  all.Rethrow();
}

}  // namespace sheaf
