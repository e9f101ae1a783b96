# otlp_messages: libprotobuf's classes for OTLP, made by protoc. The official judge of what our decoder
# and encoder do; for tests and benchmarks only, never part of the program.

find_package(Protobuf REQUIRED)  # Its targets are known only to the folder that finds them.
if(TARGET otlp_messages)
  return()
endif()
set(proto_folder ${SHEAF_DEPS}/proto)
set(otlp_folder ${CMAKE_BINARY_DIR}/otlp_messages)
file(MAKE_DIRECTORY ${otlp_folder})
set(otlp_sources)
foreach(name common/v1/common resource/v1/resource trace/v1/trace logs/v1/logs metrics/v1/metrics
    collector/trace/v1/trace_service collector/logs/v1/logs_service collector/metrics/v1/metrics_service)
  set(proto ${proto_folder}/opentelemetry/proto/${name}.proto)
  set(generated ${otlp_folder}/opentelemetry/proto/${name}.pb)
  add_custom_command(OUTPUT ${generated}.cc ${generated}.h
    COMMAND protobuf::protoc --proto_path=${proto_folder} --cpp_out=${otlp_folder} ${proto}
    DEPENDS ${proto} VERBATIM)
  list(APPEND otlp_sources ${generated}.cc)
endforeach()
add_library(otlp_messages STATIC EXCLUDE_FROM_ALL ${otlp_sources})
target_include_directories(otlp_messages SYSTEM PUBLIC ${otlp_folder})
target_link_libraries(otlp_messages PUBLIC protobuf::libprotobuf)
