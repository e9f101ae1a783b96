#include "serve/memory_account.h"

namespace sheaf::serve {

bool MemoryBudget::TryReserve(int64_t bytes) {
  if (Add(bytes) <= bytes_max()) return true;
  Release(bytes);
  return false;
}

bool MemoryAccount::TryReserve(int64_t bytes) {
  if (used_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= bytes_max_ && budget_->TryReserve(bytes)) return true;
  used_.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

void MemoryAccount::Release(int64_t bytes) {
  used_.fetch_sub(bytes, std::memory_order_relaxed);
  budget_->Release(bytes);
}

bool MemoryAccount::pressed() const {
  if (in_handlers_.load(std::memory_order_seq_cst) == 0) return false;
  return used() > bytes_max_ / 2 || budget_->bytes() > budget_->bytes_max() / 4 * 3;
}

void MemoryAccount::LeaveHandler() {
  in_handlers_.fetch_sub(1, std::memory_order_seq_cst);
  if (asked_.exchange(false, std::memory_order_seq_cst) && relief_) relief_();
}

bool MemoryShare::GrowTo(int64_t bytes) {
  if (bytes <= bytes_) return true;
  if (!account_->TryReserve(bytes - bytes_)) return false;
  bytes_ = bytes;
  return true;
}

void MemoryShare::Clear() {
  if (bytes_ != 0) account_->Release(std::exchange(bytes_, 0));
}

}  // namespace sheaf::serve
