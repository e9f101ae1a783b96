# cmake --install: the program, the C++ library with its header and package file, and the pinned libraries beside them.

include(GNUInstallDirs)
set(library_folder lib)  # As in build folders: programs look in $ORIGIN/../lib.
set_target_properties(sheaf PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
set_target_properties(sheaf_library PROPERTIES INSTALL_RPATH "$ORIGIN")
install(TARGETS sheaf RUNTIME DESTINATION bin)
install(TARGETS sheaf_library LIBRARY DESTINATION ${library_folder})
install(FILES src/sheaf/database.h src/sheaf/exporter.h src/sheaf/shared_tables.h DESTINATION include/sheaf)
install(FILES src/query/functions.h DESTINATION include/sheaf)  # In place of src/sheaf/functions.h, which only includes it.
install(FILES LICENSE DESTINATION share/doc/sheaf)

set(SHEAF_OWN_ARROW OFF)
foreach(name arrow arrow_compute parquet duckdb)
  get_target_property(location sheaf::${name} IMPORTED_LOCATION)
  if(location)
    install(FILES ${location} DESTINATION ${library_folder})
    if(name STREQUAL "arrow")
      set(SHEAF_OWN_ARROW ON)
      cmake_path(GET location FILENAME SHEAF_ARROW_FILE)
      install(DIRECTORY ${SHEAF_DEPS}/arrow/include/ DESTINATION include/sheaf-arrow)
    endif()
  endif()
endforeach()

include(CMakePackageConfigHelpers)
configure_package_config_file(cmake/SheafConfig.cmake.in ${CMAKE_BINARY_DIR}/SheafConfig.cmake
  INSTALL_DESTINATION ${library_folder}/cmake/Sheaf)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/SheafConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/SheafConfig.cmake ${CMAKE_BINARY_DIR}/SheafConfigVersion.cmake
  DESTINATION ${library_folder}/cmake/Sheaf)
