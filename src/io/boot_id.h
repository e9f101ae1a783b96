/// Which start of the machine this is.

#pragma once

#include <string>

namespace sheaf::io {

/// Returns what Linux calls itself by from one start to the next (/proc/sys/kernel/random/boot_id): another text after each start of the
/// machine, whatever its clocks say. "unknown" where that cannot be read.
std::string BootId();

}  // namespace sheaf::io
