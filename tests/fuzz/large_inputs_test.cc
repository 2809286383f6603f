// Inputs made to cost a reader the most memory for each byte, and such as lead
// deep. While it reads N bytes, the heap stays under 32 N + 64 MiB.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/storage/digest.h"
#include "data/text/tokenizer.h"
#include "tests/counted_heap.h"
#include "tests/data/model_builder.h"
#include "tests/trainer/safetensors_bytes.h"
#include "trainer/checkpoint/format/hf_config.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/format/safetensors_header.h"
#include "trainer/checkpoint/format/weights_index.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

constexpr size_t kLarge = size_t{16} << 20;

// `piece` of 0, 1, 2, ... until there are kLarge bytes, less `room`.
std::string Repeated(const std::function<std::string(size_t)>& piece,
                     size_t room = 1024) {
  std::string text;
  for (size_t i = 0;; ++i) {
    const std::string next = piece(i);
    if (text.size() + next.size() > kLarge - room) return text;
    text += next;
  }
}

std::string Repeated(const std::string& piece) {
  return Repeated([&](size_t) { return piece; });
}

// What `read` answers; the heap's peak meanwhile is looked at.
absl::Status Read(const std::string& bytes,
                  const std::function<absl::Status()>& read) {
  ForgetPeakHeap();
  const int64_t before = LiveHeapBytes();
  const absl::Status status = read();
  const int64_t limit =
      32 * static_cast<int64_t>(bytes.size()) + (int64_t{64} << 20);
  EXPECT_LE(PeakHeapBytes() - before, limit)
      << "for " << bytes.size() << " bytes: " << status;
  EXPECT_LT(status.message().size(), 10000);
  return status;
}

absl::Status ReadHeader(const std::string& json, size_t data_bytes = 0) {
  const std::string file = FileOf(json, data_bytes);
  return Read(file, [&] { return ParseSafetensorsHeader(file).status(); });
}

TEST(LargeInputs, SafetensorsOfManyTensors) {
  const std::string entries = Repeated([](size_t i) {
    return absl::StrCat(i == 0 ? "" : ",", TensorEntry(absl::StrFormat("%x", i),
                                                       "U8", "0", "0,0"));
  });
  EXPECT_TRUE(ReadHeader(Object(entries)).ok());
}

TEST(LargeInputs, SafetensorsOfMuchMetadata) {
  const std::string entries = Repeated([](size_t i) {
    return absl::StrFormat("%s\"%x\":\"\"", i == 0 ? "" : ",", i);
  });
  EXPECT_TRUE(ReadHeader("{\"__metadata__\":{" + entries + "}}").ok());
}

TEST(LargeInputs, SafetensorsOfLongNames) {
  const std::string name(kLarge / 2, 'n');
  EXPECT_TRUE(ReadHeader(Object(TensorEntry(name, "U8", "0", "0,0"))).ok());
  EXPECT_FALSE(ReadHeader(Object(TensorEntry(name, "U8", "1", "0,0"))).ok());
  EXPECT_FALSE(ReadHeader(Object(TensorEntry("a", name, "1", "0,0"))).ok());
}

TEST(LargeInputs, WeightsIndexOfManyNames) {
  const std::string entries = Repeated([](size_t i) {
    return absl::StrFormat("%s\"%x\":\"f\"", i == 0 ? "" : ",", i);
  });
  const std::string json = "{\"weight_map\":{" + entries + "}}";
  EXPECT_TRUE(
      Read(json, [&] { return ParseWeightsIndex(json).status(); }).ok());
}

TEST(LargeInputs, WeightsIndexOver16MiB) {
  const std::string json = "{\"weight_map\":{}}" + std::string(kLarge, ' ');
  EXPECT_FALSE(
      Read(json, [&] { return ParseWeightsIndex(json).status(); }).ok());
}

TEST(LargeInputs, ConfigJsonOfManyKeys) {
  for (const char* value : {"\"\"", "{}", "{\"\":\"\"}"}) {
    const std::string entries = Repeated([&](size_t i) {
      return absl::StrFormat("%s\"%x\":%s", i == 0 ? "" : ",", i, value);
    });
    const std::string json = Object(entries);
    EXPECT_FALSE(
        Read(json, [&] { return ParseConfigJson(json).status(); }).ok());
  }
}

TEST(LargeInputs, JsonNestedDeeply) {
  for (const char* open : {"[", "{\"a\":"}) {
    const std::string json = "{\"model_type\":" + Repeated(open);
    EXPECT_FALSE(
        Read(json, [&] { return ParseConfigJson(json).status(); }).ok());
    EXPECT_FALSE(
        Read(json, [&] { return ParseWeightsIndex(json).status(); }).ok());
    EXPECT_FALSE(ReadHeader(json).ok());
  }
}

TEST(LargeInputs, JsonOfAHugeNumber) {
  const std::string json = "{\"vocab_size\":" + std::string(1 << 20, '9') + "}";
  EXPECT_FALSE(Read(json, [&] { return ParseConfigJson(json).status(); }).ok());
  EXPECT_FALSE(ReadHeader(json).ok());
}

absl::Status ReadManifestOf(const std::string& body) {
  const std::string text =
      body + absl::StrFormat("# xxh3 %016x\n", Digest(body));
  return Read(text, [&] { return ParseManifest(text, "m").status(); });
}

TEST(LargeInputs, ManifestOfManyFiles) {
  const std::string files =
      Repeated([](size_t i) { return absl::StrFormat("file{name:'%x'}", i); });
  EXPECT_TRUE(ReadManifestOf("version: 1 " + files).ok());
  EXPECT_FALSE(ReadManifestOf("version: 1 " + Repeated("file{}")).ok());
  EXPECT_FALSE(ReadManifestOf(Repeated("file{")).ok());
  EXPECT_FALSE(ReadManifestOf(Repeated("a{")).ok());
  EXPECT_FALSE(ReadManifestOf(Repeated("a{b:'}'")).ok());
  EXPECT_TRUE(ReadManifestOf("version: 1 " + Repeated("a{}")).ok());
}

absl::Status ReadConfigText(const std::string& text) {
  return Read(text, [&] { return ParseConfig(text, "c").status(); });
}

TEST(LargeInputs, ConfigurationOfManySources) {
  EXPECT_TRUE(ReadConfigText("data{train{" + Repeated("source{}") + "}}").ok());
  EXPECT_TRUE(
      ReadConfigText("data{train{" + Repeated("source<path:''>") + "}}").ok());
}

TEST(LargeInputs, StoredConfigurationOfMuchUnknown) {
  const auto read = [](const std::string& text) {
    return Read(text, [&] {
      std::vector<std::string> unknown;
      return ParseStoredConfig(text, "c", unknown).status();
    });
  };
  EXPECT_TRUE(read(Repeated([](size_t i) {
                return absl::StrFormat("x%x:1 ", i);
              })).ok());
  EXPECT_FALSE(read(Repeated("a{")).ok());
  EXPECT_FALSE(read("a: " + Repeated("[")).ok());
}

TEST(LargeInputs, ConfigurationNestedDeeply) {
  EXPECT_FALSE(ReadConfigText(Repeated("data{")).ok());
  EXPECT_FALSE(ReadConfigText(Repeated("[a.b/c]{")).ok());
  EXPECT_FALSE(ReadConfigText("data: " + Repeated("[")).ok());
  EXPECT_FALSE(ReadConfigText("data{x: " + Repeated("<a:[")).ok());
}

absl::Status ReadModel(const std::string& bytes) {
  return Read(bytes, [&] { return Tokenizer::FromBytes(bytes).status(); });
}

// Bytes of a message's field of number 1 and this content.
std::string Field1(const std::string& content) {
  std::string bytes("\x0a");
  size_t size = content.size();
  for (; size >= 128; size >>= 7)
    bytes.push_back(static_cast<char>(size % 128 + 128));
  bytes.push_back(static_cast<char>(size));
  return bytes + content;
}

TEST(LargeInputs, ModelOfEmptyPieces) {
  EXPECT_FALSE(ReadModel(Repeated(std::string("\x0a\0", 2))).ok());
}

TEST(LargeInputs, ModelOfPiecesWithUnknownFields) {
  EXPECT_FALSE(ReadModel(Repeated(std::string("\x0a\x02\x20\0", 4))).ok());
}

TEST(LargeInputs, ModelOfManyShortPieces) {
  const std::string pieces = Repeated(
      [](size_t i) { return Field1(Field1(absl::StrFormat("%06x", i))); });
  EXPECT_TRUE(ReadModel(ModelBuilder().Serialize() + pieces).ok());
}

// Each piece is one letter longer than the one before: every cut of it is a
// merge of two pieces.
TEST(LargeInputs, ModelOfManyMerges) {
  std::string pieces;
  for (const char letter : {'a', 'b'}) {
    for (size_t length = 1; length <= 2048; ++length)
      pieces += Field1(Field1(std::string(length, letter)));
  }
  EXPECT_EQ(ReadModel(ModelBuilder().Serialize() + pieces).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LargeInputs, ModelOver16MiB) {
  EXPECT_EQ(ReadModel(std::string(kMaxModelBytes + 1, '\0')).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LargeInputs, ModelNestedDeeply) {
  EXPECT_FALSE(ReadModel(Repeated("\x3b")).ok());
}

}  // namespace
}  // namespace moe
