#include "client/learned_compression.h"

namespace sheaf::client {

using wire::Encoding;

Encoding LearnedCompression::Next(wire::OtlpRequest kind) const {
  const State state = Of(kind);
  return state == State::kTryPlain || state == State::kPlain ? Encoding::kIdentity : wanted_;
}

bool LearnedCompression::NoteTaken(wire::OtlpRequest kind, Encoding encoding) {
  if (wanted_ == Encoding::kIdentity) return false;
  std::atomic<State>& state = states_[Index(kind)];
  if (encoding == wanted_) {
    state = State::kWorks;
    return false;
  }
  State before = state;
  while (before != State::kWorks && before != State::kPlain) {
    if (state.compare_exchange_weak(before, State::kPlain)) return true;
  }
  return false;
}

void LearnedCompression::NoteBrokenOff(wire::OtlpRequest kind) {
  // Broken off plain too: it was not the compression.
  State before = Of(kind);
  const State next = before == State::kTryPlain ? State::kUnknown : State::kTryPlain;
  if (before == State::kUnknown || before == State::kTryPlain) states_[Index(kind)].compare_exchange_strong(before, next);
}

}  // namespace sheaf::client
