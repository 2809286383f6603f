#include "trainer/checkpoint/format/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

CheckpointManifest Example() {
  CheckpointManifest manifest;
  manifest.set_version(kManifestVersion);
  manifest.set_step(1200);
  manifest.set_consumed_samples(38400);
  manifest.set_ranks(16);
  manifest.set_tensor_parallel(2);
  manifest.set_expert_parallel(8);
  manifest.set_samples_per_epoch(5000);
  manifest.set_valid_loss(3.25);
  manifest.set_skipped_steps(2);
  for (const char* name : {"config.json", "model-00001-of-00001.safetensors"}) {
    CheckpointManifest::File& file = *manifest.add_file();
    file.set_name(name);
    file.set_num_bytes(5);
    file.set_xxh3(Digest(name));
  }
  return manifest;
}

TEST(Manifest, ReadsWhatItWrote) {
  const std::string text = ManifestText(Example());
  const auto manifest = ParseManifest(text, "m");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->SerializeAsString(), Example().SerializeAsString());
  EXPECT_EQ(ManifestText(*manifest), text);
}

TEST(Manifest, LayoutCountsOneRankAsOne) {
  CheckpointManifest manifest = Example();
  EXPECT_EQ(LayoutText(manifest), "16 ranks (tensor 2, expert 8)");
  manifest.set_ranks(1);
  EXPECT_EQ(LayoutText(manifest), "1 rank (tensor 2, expert 8)");
}

// XXH3 of nothing, and of "abc", with seed 0, as `xxhsum -H3` prints them.
TEST(Manifest, DigestIsXxh3) {
  EXPECT_EQ(Digest(""), 0x2d06800538d394c2u);
  EXPECT_EQ(Digest("abc"), 0x78af5f94892f3950u);
}

TEST(Manifest, AnyBitFlippedIsFound) {
  const std::string text = ManifestText(Example());
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_EQ(ParseManifest(damaged, "m").status().code(),
                absl::StatusCode::kDataLoss)
          << "bit " << bit << " of byte " << i;
    }
  }
}

TEST(Manifest, AnyCutIsFound) {
  const std::string text = ManifestText(Example());
  for (size_t length = 0; length < text.size(); ++length)
    EXPECT_FALSE(ParseManifest(text.substr(0, length), "m").ok()) << length;
}

TEST(Manifest, OfAnotherVersionIsNamed) {
  CheckpointManifest manifest = Example();
  manifest.set_version(2);
  const absl::Status newer =
      ParseManifest(ManifestText(manifest), "m").status();
  EXPECT_EQ(newer.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(newer.message()),
              AllOf(HasSubstr("newer version"), HasSubstr("format 2")));
  manifest.set_version(0);
  EXPECT_EQ(ParseManifest(ManifestText(manifest), "m").status().code(),
            absl::StatusCode::kDataLoss);
}

// A text with the digest that it must have.
std::string Signed(const std::string& body) { return body + DigestLine(body); }

TEST(Manifest, WhatOnlyANewerVersionKnowsIsPassedOver) {
  const std::string text = ManifestText(Example());
  const std::string body = text.substr(0, text.size() - DigestLine("").size());
  const auto manifest = ParseManifest(
      Signed(absl::StrCat(body,
                          "color: 7\ntint { depth: [1, 2] name: \"{\" }\n"
                          "file { name: \"new\" color: RED }\n")),
      "m");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->step(), 1200);
  EXPECT_EQ(manifest->file_size(), 3);
}

TEST(Manifest, WhatIsNotUnderstoodThoughItIsAsWrittenIsNotDamaged) {
  for (const char* body :
       {"version: ONE\n", "version: 1 valid_split: BYTES\n"}) {
    const absl::Status status = ParseManifest(Signed(body), "m").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << body;
    EXPECT_THAT(std::string(status.message()), HasSubstr("newer version"));
  }
}

TEST(Manifest, NestsNoDeeperThanAParserMayGo) {
  std::string body = "version: 1\n";
  for (int i = 0; i < 1000; ++i) body += "a {";
  for (int i = 0; i < 1000; ++i) body += "}";
  const absl::Status status = ParseManifest(Signed(body), "m").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("too deep"));
}

// As all did before steps could be skipped.
TEST(Manifest, WithoutSkippedStepsHasNone) {
  CheckpointManifest manifest = Example();
  manifest.clear_skipped_steps();
  const std::string text = ManifestText(manifest);
  EXPECT_EQ(text.find("skipped"), text.npos);
  const auto parsed = ParseManifest(text, "m");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->skipped_steps(), 0);
}

TEST(Manifest, ItsBatchesHaveChangedOnItsWay) {
  using Changes = std::vector<std::pair<int64_t, int64_t>>;
  const auto parse = [](const Changes& changes) {
    CheckpointManifest manifest = Example();
    for (const auto& [step, samples] : changes) {
      CheckpointManifest::BatchChange& change = *manifest.add_batch_change();
      change.set_step(step);
      change.set_consumed_samples(samples);
    }
    return ParseManifest(ManifestText(manifest), "m").status();
  };
  EXPECT_TRUE(parse({{1, 1}, {100, 38000}, {1200, 38400}}).ok());
  for (const Changes& changes :
       {Changes{{0, 5}}, Changes{{5, 0}}, Changes{{-1, 5}}, Changes{{5, -1}},
        Changes{{1201, 5}}, Changes{{5, 38401}}, Changes{{5, 38400}},
        Changes{{1200, 5}}, Changes{{5, 5}, {5, 6}}, Changes{{5, 5}, {6, 5}},
        Changes{{6, 6}, {5, 7}}}) {
    EXPECT_THAT(std::string(parse(changes).message()),
                HasSubstr("changes of the batch"));
  }
}

TEST(Manifest, SkipsNoMoreStepsThanItHas) {
  for (int64_t skipped : {int64_t{-1}, int64_t{1201}}) {
    CheckpointManifest manifest = Example();
    manifest.set_skipped_steps(skipped);
    EXPECT_THAT(
        std::string(
            ParseManifest(ManifestText(manifest), "m").status().message()),
        HasSubstr("skipped steps"));
  }
}

TEST(Manifest, NamesStayInTheDirectory) {
  for (const char* name : {"", ".", "..", "../x", "/etc/passwd", "a/b",
                           "config.json"}) {  // a second time
    CheckpointManifest manifest = Example();
    manifest.add_file()->set_name(name);
    EXPECT_EQ(ParseManifest(ManifestText(manifest), "m").status().code(),
              absl::StatusCode::kDataLoss)
        << name;
  }
}

class ManifestDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(files_.Remove(directory_).ok());
    ASSERT_TRUE(files_.MakeDirectories(directory_).ok());
    for (CheckpointManifest::File& file : *manifest_.mutable_file()) {
      const std::string contents = "12345";
      file.set_xxh3(Digest(contents));
      Write(file.name(), contents);
    }
    Write(kManifestFile, ManifestText(manifest_));
  }
  void TearDown() override { EXPECT_TRUE(files_.Remove(directory_).ok()); }

  void Write(const std::string& name, absl::string_view contents) {
    ASSERT_TRUE(
        WriteDurably(files_, JoinPath(directory_, name), contents).ok());
  }

  FileSystem& files_ = PosixFileSystem();
  const std::string directory_ = JoinPath(testing::TempDir(), "manifest_test");
  CheckpointManifest manifest_ = Example();
};

TEST_F(ManifestDirectoryTest, IsWholeAsItWasWritten) {
  const auto manifest = ReadManifest(files_, directory_);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  for (const CheckpointManifest::File& file : manifest->file())
    EXPECT_TRUE(VerifyFile(files_, directory_, file).ok());
}

TEST_F(ManifestDirectoryTest, WithoutManifestIsNoCheckpoint) {
  ASSERT_TRUE(files_.Remove(JoinPath(directory_, kManifestFile)).ok());
  EXPECT_EQ(ReadManifest(files_, directory_).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ManifestDirectoryTest, AMissingOrCutFileIsNamed) {
  Write("config.json", "1234");
  auto status = ReadManifest(files_, directory_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("config.json"));
  ASSERT_TRUE(files_.Remove(JoinPath(directory_, "config.json")).ok());
  status = ReadManifest(files_, directory_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("missing"));
}

TEST_F(ManifestDirectoryTest, AChangedByteIsFoundByItsDigest) {
  Write("config.json", "12346");
  ASSERT_TRUE(ReadManifest(files_, directory_).ok());
  const auto status = VerifyFile(files_, directory_, manifest_.file(0));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("config.json"));
}

}  // namespace
}  // namespace moe
