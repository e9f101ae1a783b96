# sheaf_module(NAME DEPS module… LIBS library…)
#
# One module of src/: a static library sheaf_NAME of every *.cc that is not a test, fuzz target or
# benchmark; a program NAME_test of every *_test.cc (so that no test file can be forgotten); a program
# a fuzz target X_fuzz and a benchmark X_bench for each *_fuzz.cc and *_bench.cc. `testing.{h,cc}` and
# `*_testing.{h,cc}` are support for tests, in a library of their own: sheaf_NAME_testing.

set(SHEAF_TEST_ENVIRONMENT
  "ASAN_OPTIONS=detect_container_overflow=0:abort_on_error=1:detect_stack_use_after_return=1"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/tsan.supp:halt_on_error=1:second_deadlock_stack=1"
  "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0"
  "ARROW_DEFAULT_MEMORY_POOL=system"
  "SHEAF_SOURCE_DIR=${CMAKE_SOURCE_DIR}")

if(SHEAF_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
if(SHEAF_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
add_custom_target(fuzzers)  # All fuzz targets and nothing else.

function(sheaf_module name)
  cmake_parse_arguments(arg "" "" "DEPS;LIBS;TEST_LIBS;FUZZ_LIBS;BENCH_LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  set(fuzzers ${sources})
  set(benchmarks ${sources})
  set(support ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER benchmarks INCLUDE REGEX "_bench\\.cc$")
  list(FILTER support INCLUDE REGEX "[/_]testing\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|_fuzz|_bench|[/_]testing)\\.cc$")

  list(TRANSFORM arg_DEPS PREPEND sheaf_ OUTPUT_VARIABLE dependencies)
  if(sources)
    add_library(sheaf_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(sheaf_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(sheaf_${name} ${scope} ${CMAKE_SOURCE_DIR}/src)
  # Every header compiles alone: target all_verify_interface_header_sets, which ./dev headers builds.
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h)
  list(FILTER headers EXCLUDE REGEX "[/_]testing\\.h$")
  if(headers)
    target_sources(sheaf_${name} ${scope} FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}/src FILES ${headers})
    set_target_properties(sheaf_${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  endif()
  target_link_libraries(sheaf_${name} ${scope} ${dependencies} ${arg_LIBS} Threads::Threads)

  if(support)
    add_library(sheaf_${name}_testing STATIC ${support})
    target_link_libraries(sheaf_${name}_testing PUBLIC sheaf_${name})
  endif()
  if(SHEAF_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE sheaf_${name} GTest::gmock GTest::gtest_main ${arg_TEST_LIBS})
    if(support)
      target_link_libraries(${name}_test PRIVATE sheaf_${name}_testing)
    endif()
    gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} PROPERTIES ENVIRONMENT "${SHEAF_TEST_ENVIRONMENT}" TIMEOUT 300)
  endif()
  if(SHEAF_FUZZERS)
    foreach(source IN LISTS fuzzers)
      get_filename_component(target ${source} NAME_WE)
      add_executable(${name}_${target} ${source})
      add_dependencies(fuzzers ${name}_${target})
      target_link_options(${name}_${target} PRIVATE -fsanitize=fuzzer)
      target_link_libraries(${name}_${target} PRIVATE sheaf_${name} ${arg_FUZZ_LIBS})
      if(support)
        target_link_libraries(${name}_${target} PRIVATE sheaf_${name}_testing)
      endif()
    endforeach()
  endif()
  if(SHEAF_BENCHMARKS)
    foreach(source IN LISTS benchmarks)
      get_filename_component(target ${source} NAME_WE)
      add_executable(${name}_${target} ${source})
      target_link_libraries(${name}_${target} PRIVATE sheaf_${name} benchmark::benchmark ${arg_BENCH_LIBS})
      if(support)
        target_link_libraries(${name}_${target} PRIVATE sheaf_${name}_testing)
      endif()
    endforeach()
  endif()
endfunction()
