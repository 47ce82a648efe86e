# The components. All are headers; they differ in what they may include and in what a program then links.
#   engine  tensors to training: header-only fmt and the thread library
#   hone    engine, files and text: nlohmann/json, PCRE2, utf8proc, xxHash
#   emu     engine and the kernels of cuda/ on emulated blocks and warps: Boost.Context
#   cuda    the CUDA side: kernels are compiled by nvcc in one .cu of the user's; CUDA's runtime and cuBLASLt, where found
#   dist    the seam for several processes
function(hone_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "CUDA_ROOT" "" "NEEDS;LINKS")
  string(REPLACE ";" ", " listed "${HONE_COMPONENTS}")
  set(automatic OFF)
  if("auto" IN_LIST HONE_COMPONENTS)
    set(automatic ON)
  elseif(NOT name IN_LIST HONE_COMPONENTS)
    return()
  endif()
  foreach(package IN LISTS arg_NEEDS)
    hone_package(${package} found)
    if(NOT found)
      hone_debian_name(${package} debian)
      set(why "component hone::${name} needs ${package}: apt-get install ${debian}, or configure with -DHONE_FETCH=ON")
      if(automatic AND NOT name STREQUAL "engine")
        message(STATUS "hone: left out; ${why}")
        return()
      endif()
      message(FATAL_ERROR "hone: ${why}")
    endif()
  endforeach()
  add_library(hone_${name} INTERFACE)
  add_library(hone::${name} ALIAS hone_${name})
  set_target_properties(hone_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(hone_${name} INTERFACE cxx_std_20)
  target_include_directories(hone_${name} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  if(arg_CUDA_ROOT)
    # Both roots hold a folder hone/. They stay two roots: a root that is the project's own folder would put a directory
    # called cuda in front of the toolkit's.
    target_include_directories(hone_${name} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cuda> $<INSTALL_INTERFACE:include/hone-cuda>)
  endif()
  target_link_libraries(hone_${name} INTERFACE ${arg_LINKS})
  set_property(GLOBAL APPEND PROPERTY HONE_COMPONENTS_BUILT ${name})
endfunction()

hone_component(engine NEEDS Threads fmt LINKS fmt::fmt-header-only Threads::Threads)
hone_component(hone NEEDS nlohmann_json PCRE2 utf8proc xxHash
  LINKS hone_engine nlohmann_json::nlohmann_json PCRE2::8BIT utf8proc::utf8proc xxHash::xxhash)
hone_component(emu CUDA_ROOT NEEDS Boost LINKS hone_engine Boost::context)
hone_component(cuda CUDA_ROOT LINKS hone_engine ${HONE_CUDA_LINKS} ${CMAKE_DL_LIBS})
hone_component(dist LINKS hone_engine)

# hone::compiled  the engine with its largest templates compiled once: for programs of many files that build often
if(TARGET hone_engine)
  file(GLOB hone_compiled_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/compiled/*.cpp)
  add_library(hone_compiled STATIC EXCLUDE_FROM_ALL ${hone_compiled_sources})
  add_library(hone::compiled ALIAS hone_compiled)
  target_link_libraries(hone_compiled PUBLIC hone_engine)
  target_compile_definitions(hone_compiled PUBLIC HONE_COMPILED)
  target_compile_options(hone_compiled PRIVATE $<$<CONFIG:Release>:-O1>)  # plans allocate and compute nothing
endif()
