# Finds every outside library. A user's own installation comes first (-DArrow_DIR=…, -DSHEAF_DUCKDB=…);
# otherwise the pinned ones that tools/setup.py keeps in its cache.

execute_process(COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/setup.py print
  OUTPUT_VARIABLE SHEAF_DEPS OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tools/dependencies.json tools/hide_foreign_symbols.py)

find_package(Arrow 26 QUIET)
if(Arrow_FOUND)
  find_package(Parquet 26 REQUIRED)
  find_package(ArrowFlight 26 REQUIRED)
  add_library(sheaf::arrow ALIAS Arrow::arrow_shared)
  add_library(sheaf::parquet ALIAS Parquet::parquet_shared)
else()
  # The wheel's libraries with what is built into them hidden: tools/hide_foreign_symbols.py says why.
  execute_process(COMMAND python3 ${CMAKE_SOURCE_DIR}/tools/setup.py print-arrow
    OUTPUT_VARIABLE SHEAF_ARROW_LIBRARIES OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT EXISTS ${SHEAF_ARROW_LIBRARIES}/libarrow.so)
    message(FATAL_ERROR "Arrow is missing; run './dev setup' first")
  endif()
  foreach(library arrow arrow_compute parquet)
    add_library(sheaf::${library} SHARED IMPORTED)
    file(REAL_PATH ${SHEAF_ARROW_LIBRARIES}/lib${library}.so location)
    set_target_properties(sheaf::${library} PROPERTIES IMPORTED_LOCATION ${location})
    target_include_directories(sheaf::${library} SYSTEM INTERFACE ${SHEAF_DEPS}/arrow/include)
  endforeach()
  target_link_libraries(sheaf::parquet INTERFACE sheaf::arrow)
  target_link_libraries(sheaf::arrow_compute INTERFACE sheaf::arrow)
endif()

set(SHEAF_DUCKDB ${SHEAF_DEPS}/duckdb CACHE PATH "DuckDB 1.5.5: include/ and lib/libduckdb.so")
if(NOT EXISTS ${SHEAF_DUCKDB}/lib/libduckdb.so)
  message(FATAL_ERROR "DuckDB is missing; run './dev setup' first")
endif()
add_library(sheaf::duckdb SHARED IMPORTED)
set_target_properties(sheaf::duckdb PROPERTIES
  IMPORTED_LOCATION ${SHEAF_DUCKDB}/lib/libduckdb.so IMPORTED_NO_SONAME OFF)
target_include_directories(sheaf::duckdb SYSTEM INTERFACE ${SHEAF_DUCKDB}/include)

find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(simdjson REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost 1.81 REQUIRED)
foreach(library nghttp2 zstd lz4 xxhash roaring edit hwy)
  find_library(${library}_LIBRARY ${library} REQUIRED)
  add_library(sheaf::${library} INTERFACE IMPORTED)
  target_link_libraries(sheaf::${library} INTERFACE ${${library}_LIBRARY})
endforeach()

# The static library: the program needs nothing more where it runs. (Debian builds it position-independent.)
find_library(argon2_LIBRARY NAMES libargon2.a argon2)
if(NOT argon2_LIBRARY)
  message(FATAL_ERROR "libargon2-dev is missing; run './dev setup' first")
endif()
add_library(sheaf::argon2 INTERFACE IMPORTED)
target_link_libraries(sheaf::argon2 INTERFACE ${argon2_LIBRARY})

# Statements of DuckDB allocate thousands of small objects, which takes a fifth of a look-up with glibc's
# allocator and less with jemalloc. Sanitizers bring their own.
find_library(SHEAF_JEMALLOC jemalloc)
add_library(sheaf::allocator INTERFACE IMPORTED)
if(NOT SHEAF_JEMALLOC)
  message(STATUS "libjemalloc-dev is not installed: the program uses the system's allocator")
elseif(NOT SHEAF_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_link_options(sheaf::allocator INTERFACE -Wl,--no-as-needed ${SHEAF_JEMALLOC} -Wl,--as-needed)
endif()

# Programs find the pinned libraries beside themselves (build/*/lib, as installed), and in the cache.
set(CMAKE_BUILD_RPATH "$ORIGIN/../lib;${SHEAF_ARROW_LIBRARIES};${SHEAF_DUCKDB}/lib")
