# Pinned versions for systems without apt (see dependencies.cmake). Each archive is checked against its SHA-256 before it
# is unpacked. A local copy is taken with CMake's own -DFETCHCONTENT_SOURCE_DIR_<NAME>=path.
include(FetchContent)

set(HONE_FETCH_fmt https://github.com/fmtlib/fmt/releases/download/10.2.1/fmt-10.2.1.zip
    312151a2d13c8327f5c9c586ac6cf7cddc1658e8f53edae0ec56509c8fa516c9)
set(HONE_FETCH_nlohmann_json https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
    d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
set(HONE_FETCH_PCRE2 https://github.com/PCRE2Project/pcre2/releases/download/pcre2-10.42/pcre2-10.42.tar.gz
    c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f)
set(HONE_FETCH_utf8proc https://github.com/JuliaStrings/utf8proc/archive/refs/tags/v2.9.0.tar.gz
    18c1626e9fc5a2e192311e36b3010bfc698078f692888940f1fa150547abb0c1)
set(HONE_FETCH_xxHash https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.2.tar.gz
    baee0c6afd4f03165de7a4e67988d16f0f2b257b51d0e3cb91909302a26a79c4)
set(HONE_FETCH_Boost https://github.com/boostorg/boost/releases/download/boost-1.84.0/boost-1.84.0.tar.xz
    2e64e5d79a738d0fa6fb546c6e5c2bd28f88d268a2a080546f74e5ff98f29d0e)
set(HONE_FETCH_doctest https://github.com/doctest/doctest/archive/refs/tags/v2.4.11.tar.gz
    632ed2c05a7f53fa961381497bf8069093f0d6628c5f26286161fbd32a560186)
set(HONE_FETCH_CLI11 https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.3.2.tar.gz
    aac0ab42108131ac5d3344a9db0fdf25c4db652296641955720a4fbe52334e22)
set(HONE_FETCH_yaml-cpp https://github.com/jbeder/yaml-cpp/archive/refs/tags/0.8.0.tar.gz
    fbe74bbdcee21d656715688706da3c8becfd946d92cd44705cc6098bb23b3a16)

# Targets whose name in the fetched project differs from the one the installed package offers.
function(hone_fetch_alias name target)
  if(NOT TARGET ${name} AND TARGET ${target})
    add_library(${name} ALIAS ${target})
  endif()
endfunction()

function(hone_fetch package)
  list(GET HONE_FETCH_${package} 0 url)
  list(GET HONE_FETCH_${package} 1 hash)
  message(STATUS "hone: ${package} is not installed; fetching ${url}")
  set(BUILD_SHARED_LIBS OFF)
  set(BUILD_TESTING OFF)
  set(subdirectory "")
  if(package STREQUAL "PCRE2")
    set(PCRE2_BUILD_PCRE2GREP OFF)
    set(PCRE2_BUILD_TESTS OFF)
    set(PCRE2_SUPPORT_JIT ON)
  elseif(package STREQUAL "xxHash")
    set(XXHASH_BUILD_XXHSUM OFF)
    set(subdirectory SOURCE_SUBDIR cmake_unofficial)
  elseif(package STREQUAL "Boost")
    set(BOOST_INCLUDE_LIBRARIES context)
  elseif(package STREQUAL "doctest")
    set(DOCTEST_WITH_TESTS OFF)
  elseif(package STREQUAL "yaml-cpp")
    set(YAML_CPP_BUILD_TOOLS OFF)
    set(YAML_CPP_BUILD_CONTRIB OFF)
  endif()
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # options of the fetched project take the variables above
  enable_language(C)
  FetchContent_Declare(${package} URL ${url} URL_HASH SHA256=${hash} ${subdirectory} SYSTEM)
  FetchContent_MakeAvailable(${package})
  hone_fetch_alias(PCRE2::8BIT pcre2-8-static)
  hone_fetch_alias(utf8proc::utf8proc utf8proc)
  hone_fetch_alias(xxHash::xxhash xxhash)
  hone_fetch_alias(Boost::context boost_context)
  hone_fetch_alias(doctest::doctest doctest)
  set_property(GLOBAL APPEND PROPERTY HONE_FETCHED ${package})
endfunction()
