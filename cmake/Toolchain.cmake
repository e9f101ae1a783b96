# Compiler flags, cache and linker. One place, so that every target is built alike.

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths relative to the clone, so that every clone shares one cache (./dev sets CCACHE_BASEDIR too).
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

# x86-64-v2 (SSE4.2) is what the Arrow wheel asks for; wider kernels are chosen at run time.
add_compile_options(-march=x86-64-v2 -Wall -Wextra -Wno-missing-field-initializers -fno-omit-frame-pointer)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
# Not optimised: compiling takes half the time, and the tests wait for disks and processes anyway.
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wthread-safety -Werror=thread-safety -Wno-unused-command-line-argument)
  add_link_options(-fuse-ld=lld-19)
else()
  find_program(MOLD mold)
  if(MOLD)
    add_link_options(-fuse-ld=mold)
  endif()
endif()
if(SHEAF_SANITIZE)
  add_compile_options(-fsanitize=${SHEAF_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SHEAF_SANITIZE})
  if(SHEAF_SANITIZE MATCHES "undefined")
    # DuckDB's and Arrow's libraries carry no type information for the vptr check.
    add_compile_options(-fno-sanitize=vptr)
  endif()
endif()
if(SHEAF_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(SHEAF_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()
find_package(Threads REQUIRED)
