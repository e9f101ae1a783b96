/// Functions of C++ that SQL can call; see query/functions.h, which is installed under the name of this header.

#pragma once

#include "query/functions.h"  // IWYU pragma: export
