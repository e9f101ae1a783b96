#include "serve/config.h"

#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/posix.h"

namespace sheaf::serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// A temporary TOML file.
class TomlFile {
 public:
  explicit TomlFile(const std::string& text) : folder_(testing::TempDir() + "/sheaf_config_" + std::to_string(getpid())) {
    io::FileSystem* files = io::PosixFileSystem();
    EXPECT_TRUE(files->MakeDirectories(folder_).ok());
    EXPECT_TRUE(io::WriteFileAtomically(files, path(), std::as_bytes(std::span(text.data(), text.size()))).ok());
  }
  ~TomlFile() { EXPECT_TRUE(io::PosixFileSystem()->Remove(path()).ok()); }
  std::string path() const { return folder_ + "/sheaf.toml"; }

 private:
  const std::string folder_;
};

Result<Config> FromToml(const std::string& text) {
  TomlFile file(text);
  return LoadConfig(io::PosixFileSystem(), {.file = file.path()});
}

TEST(Config, LaterSourcesWin) {
  TomlFile file("[server]\nport_http = 1\nport_otlp_grpc = 1\nport_otlp_http = 1\n");
  const ConfigSources sources = {
      .file = file.path(),
      .environment = {"PATH=/bin", "SHEAF_SERVER_PORT_HTTP=2", "SHEAF_SERVER_PORT_OTLP_GRPC=2", "SHEAF_OTHER_THING=5"},
      .flags = {{"server.port_http", "3"}},
  };
  const Result<Config> config = LoadConfig(io::PosixFileSystem(), sources);
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->server.port_otlp_http, 1);
  EXPECT_EQ(config->server.port_otlp_grpc, 2);
  EXPECT_EQ(config->server.port_http, 3);
  EXPECT_EQ(config->storage.memtable_bytes, 128 << 20);
}

TEST(Config, SizesAndTimesMayCarryUnits) {
  const Result<Config> config = FromToml("[storage]\nmemtable_bytes = \"64MiB\"\nseal_age_ms = \"90s\"\nretention_ms = \"7d\"\n");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->storage.memtable_bytes, 64 << 20);
  EXPECT_EQ(config->storage.seal_age_ms, 90'000);
  EXPECT_EQ(config->storage.retention_ms, int64_t{7} * 86'400'000);
}

TEST(Config, ErrorsNamePlaceAndNearestKey) {
  const struct {
    const char* name;
    std::string toml, message;
  } rows[] = {
      {"Key", "[server]\nport_htp = 1\n", "sheaf.toml:2: server.port_htp is not a setting; did you mean server.port_http?"},
      {"Section", "[serve]\nport_http = 1\n", "serve.port_http is not a setting; did you mean server.port_http?"},
      {"TopLevel", "port_http = 1\n", "sheaf.toml:1: port_http is not a setting"},
      {"Type", "[server]\n\nport_http = true\n", "sheaf.toml:3: server.port_http has a value of the wrong type"},
      {"Range", "[server]\nport_http = 65536\n", "server.port_http must be between 0 and 65535, not 65536"},
      {"Unit", "[storage]\nmemtable_bytes = \"5 apples\"\n", "of bytes (or with KiB, MiB, GiB), not '5 apples'"},
      {"UnitOfAnotherKind", "[storage]\nmemtable_bytes = \"5s\"\n", "of bytes"},
      {"Overflow", "[storage]\nmemtable_bytes = \"9999999999999GiB\"\n", "must be a whole number"},
      {"Choice", "[log]\nlevel = \"loud\"\n", "log.level must be one of debug info warn error, not 'loud'"},
      {"Fraction", "[storage]\nfree_space_min_fraction = 2\n", "must be between 0 and 0.9, not 2"},
      {"Toml", "[server\n", "sheaf.toml:1"},
      {"HalfTls", "[tls]\nkey = \"k.pem\"\n", "tls.certificate and tls.key"},
      {"CaWithoutTls", "[tls]\nclient_ca = \"ca.pem\"\n", "tls.client_ca needs"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const Result<Config> config = FromToml(row.toml);
    ASSERT_FALSE(config.ok());
    EXPECT_EQ(KindOf(config.status()), ErrorKind::kInvalid);
    EXPECT_THAT(config.status().message(), HasSubstr(row.message));
  }
}

TEST(Config, CharactersBeyondAsciiStandInCommentsAndTextsOnly) {
  const auto config = FromToml("\xEF\xBB\xBF# caf\xC3\xA9 'n\n[storage]\ndata = \"./caf\xC3\xA9 \\\" \xCF\x8C\" # \xCF\x8C\n");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->storage.data, "./caf\xC3\xA9 \" \xCF\x8C");
  for (const char* toml : {"\n\xCF\x8C", "\n\xC3\xA9 = 1", "[server]\nbind = \xC2\xA0\"::1\"", "# comment\n[\xE3\x80\x80]",
                           "[server]\nbind = \"::1\"\xCF\x8C", "\n\nserver.bind = \"\"\"\\\n\xCF\x8C\"\"\""}) {
    const auto refused = FromToml(toml);
    EXPECT_EQ(KindOf(refused.status()), ErrorKind::kInvalid) << toml;
    EXPECT_THAT(refused.status().message(), HasSubstr("beyond ASCII")) << toml;
  }
}

TEST(Config, AMalformedHeadIsAnErrorAndNotTheEndOfTheProgram) {
  for (const char* toml : {"[ = \"debug\"", "[[ = 1", "[server]\n[ \n", "[.]", "a.= 1"}) {
    EXPECT_EQ(KindOf(FromToml(toml).status()), ErrorKind::kInvalid) << toml;
  }
}

TEST(Config, UnknownVariableOfAKnownSectionIsAnError) {
  const Result<Config> config = LoadConfig(io::PosixFileSystem(), {.environment = {"SHEAF_SERVER_PORT_HTPP=1"}});
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.status().message(),
              HasSubstr("SHEAF_SERVER_PORT_HTPP is not a setting; did you mean SHEAF_SERVER_PORT_HTTP?"));
}

TEST(Config, MissingFileIsAnError) {
  const Result<Config> config = LoadConfig(io::PosixFileSystem(), {.file = "/nowhere/sheaf.toml"});
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(KindOf(config.status()), ErrorKind::kNotFound);
}

TEST(Config, ProfilesAreDefaultsThatSingleSettingsOverride) {
  const auto low = FromToml("[query]\nconcurrent_max = 5\nprofile = \"low-latency\"\n");
  ASSERT_TRUE(low.ok()) << low.status().ToString();
  EXPECT_EQ(low->query.concurrent_max, 5);
  EXPECT_EQ(low->query.threads, 1);
  EXPECT_EQ(low->query.memory_bytes, Config().query.memory_bytes);
  const auto large = LoadConfig(io::PosixFileSystem(),
                                {.environment = {"SHEAF_QUERY_MEMORY_BYTES=2GiB"}, .flags = {{"query.profile", "large"}}});
  ASSERT_TRUE(large.ok()) << large.status().ToString();
  EXPECT_EQ(large->query.memory_bytes, int64_t{2} << 30);
  EXPECT_EQ(large->query.concurrent_max, 4);
  const auto again = FromToml(ConfigToToml(*large));
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(ConfigToToml(*again), ConfigToToml(*large));
  EXPECT_THAT(FromToml("[query]\nprofile = \"fast\"\n").status().message(),
              HasSubstr("query.profile must be one of recommended large low-latency, not 'fast'"));
}

TEST(Config, PrintedSettingsReadBackTheSame) {
  Config config;
  config.storage.data = "/a \"b\" \\c\n\x7f";
  config.server.port_http = 0;
  config.storage.free_space_min_fraction = 0.125;
  config.log.level = "warn";
  const std::string printed = ConfigToToml(config);
  const Result<Config> again = FromToml(printed);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(ConfigToToml(*again), printed);
  EXPECT_EQ(again->storage.data, config.storage.data);
  EXPECT_EQ(again->log_level(), LogLevel::kWarn);
}

TEST(Config, SamplingRulesAreCheckedAtOnce) {
  const auto config = FromToml("[sampling]\ntraces = 'checkout = 0.5, \"a, b\" = 1, * = 0.1'\nprecision_digits = 6\n");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(ConfigToToml(*FromToml(ConfigToToml(*config))), ConfigToToml(*config));
  EXPECT_THAT(FromToml("[sampling]\ntraces = 'checkout = 5'\n").status().message(),
              HasSubstr("sampling.traces: sampling rule 'checkout = 5': the share must be from 2^-56 to 1, or 0"));
  EXPECT_THAT(FromToml("[sampling]\nprecision_digits = 15\n").status().message(), HasSubstr("must be between 1 and 14"));
}

TEST(Config, DefaultsAreWithinTheirRanges) {
  const Result<Config> config = FromToml(ConfigToToml(Config()));
  ASSERT_TRUE(config.ok()) << config.status().ToString();
}

TEST(Config, ProcessorsAreNumbersAndRanges) {
  EXPECT_THAT(*ParseCpus("0-3,8"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(*ParseCpus("7"), ElementsAre(7));
  for (const char* wrong : {"", "x", "1,", ",1", "3-1", "-1", "1-", "1 2", "1024", "0-9999999999", "1;2"}) {
    const auto refused = ParseCpus(wrong);
    EXPECT_EQ(KindOf(refused.status()), ErrorKind::kInvalid) << wrong;
  }
}

TEST(Config, TheManualListsEverySettingAsItIs) {
  const std::string path = std::string(std::getenv("SHEAF_SOURCE_DIR")) + "/docs/settings.md";
  const auto manual = io::ReadFile(io::PosixFileSystem(), path, 1 << 20);
  ASSERT_TRUE(manual.ok()) << manual.status().ToString();
  EXPECT_THAT((*manual)->ToString(), HasSubstr(SettingsMarkdown())) << "docs/settings.md must end with:\n" << SettingsMarkdown();
}

}  // namespace
}  // namespace sheaf::serve
