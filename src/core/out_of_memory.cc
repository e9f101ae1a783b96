#include "core/out_of_memory.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string_view>

namespace sheaf {
namespace {

/// Without allocating, since standard error has no buffer: there may be nothing left to allocate from.
void Say(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

[[noreturn]] void Explain() {
  const std::exception_ptr thrown = std::current_exception();
  try {
    if (thrown) std::rethrow_exception(thrown);
    Say("sheaf: ended by an error in the program");
  } catch (const std::bad_alloc&) {
    Say("sheaf: out of memory in the middle of a change, so it ends here: give it more, or lower the limits (docs/settings.md)");
  } catch (const std::exception& exception) {
    Say("sheaf: ended by an error in the program: ");
    Say(exception.what());
  } catch (...) {
    Say("sheaf: ended by an error in the program");
  }
  Say(". Nothing that was acknowledged is lost; start it again.\n");
  std::abort();
}

}  // namespace

void ExplainTermination() { std::set_terminate(Explain); }

}  // namespace sheaf
