# Headers that nearly every source file reads and that take seconds to read are read once for all targets: Arrow's, and
# for tests GoogleTest's. ccache keeps objects made so only when told (pch_defines, time_macros), and GCC must leave a mark
# for it (-fpch-preprocess). Clang reads the headers as they stand: the fuzz build shows that no include is missing.

add_compile_options(-fpch-preprocess)
list(FIND CMAKE_CXX_COMPILER_LAUNCHER env position)
if(position GREATER -1)
  math(EXPR position "${position} + 1")
  list(INSERT CMAKE_CXX_COMPILER_LAUNCHER ${position} "CCACHE_SLOPPINESS=pch_defines,time_macros")
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(headers
    <algorithm> <array> <atomic> <bit> <charconv> <chrono> <cstdint> <cstring> <deque> <functional> <limits> <map> <memory> <mutex>
    <optional> <random> <set> <span> <string> <string_view> <thread> <unordered_map> <utility> <vector>
    <arrow/array.h> <arrow/array/builder_binary.h> <arrow/array/builder_primitive.h> <arrow/array/util.h> <arrow/buffer.h>
    <arrow/memory_pool.h> <arrow/record_batch.h> <arrow/scalar.h> <arrow/table.h> <arrow/type.h> <arrow/type_traits.h> <fmt/format.h>)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cc CONTENT "// Carries the precompiled headers.\n")
  add_library(sheaf_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_precompile_headers(sheaf_precompiled PRIVATE ${headers})
  target_link_libraries(sheaf_precompiled PRIVATE sheaf::arrow fmt::fmt Threads::Threads)
  if(SHEAF_TESTS)
    add_library(sheaf_precompiled_tests OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
    target_precompile_headers(sheaf_precompiled_tests PRIVATE ${headers} <gmock/gmock.h> <gtest/gtest.h>)
    set_target_properties(sheaf_precompiled_tests PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(sheaf_precompiled_tests PRIVATE -fPIE)  # As programs are.
    target_link_libraries(sheaf_precompiled_tests PRIVATE sheaf::arrow fmt::fmt Threads::Threads GTest::gmock GTest::gtest)
  endif()
endif()

# sheaf_precompile(TARGET [tests]): the target's sources find those headers read already.
function(sheaf_precompile target)
  if(TARGET sheaf_precompiled_tests AND ARGN)
    target_precompile_headers(${target} REUSE_FROM sheaf_precompiled_tests)
  elseif(TARGET sheaf_precompiled)
    target_precompile_headers(${target} REUSE_FROM sheaf_precompiled)
  endif()
endfunction()
