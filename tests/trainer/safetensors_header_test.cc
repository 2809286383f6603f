#include "trainer/checkpoint/format/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/trainer/safetensors_bytes.h"

namespace moe {
namespace {

using testing::HasSubstr;

absl::Status ParseStatus(const std::string& file) {
  return ParseSafetensorsHeader(file).status();
}

void ExpectRefused(const std::string& file, const std::string& message) {
  const absl::Status status = ParseStatus(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

// --- a test for each check of the reference's reader ------------------------

TEST(SafetensorsHeader, FileShorterThanItsLengthField) {
  ExpectRefused("", "is 0 bytes long");
  ExpectRefused("1234567", "is 7 bytes long");
}

TEST(SafetensorsHeader, HeaderLongerThan100MB) {
  std::string file(16, ' ');
  const uint64_t length = 100'000'001;
  std::memcpy(file.data(), &length, 8);
  ExpectRefused(file, "length is 100000001, must be at most 100000000");
  file.replace(0, 8, 8, '\xff');
  ExpectRefused(file, "must be at most 100000000");
}

TEST(SafetensorsHeader, HeaderLongerThanTheFile) {
  std::string file = FileOf("{}", 0);
  ++file[0];
  ExpectRefused(file, "length is 3, but only 2 bytes follow");
}

TEST(SafetensorsHeader, NotUtf8) {
  ExpectRefused(FileOf("{\"\xff\":0}", 0), "ill-formed UTF-8");
  ExpectRefused(FileOf("\xff", 0), "no valid JSON");
}

TEST(SafetensorsHeader, NotJson) {
  for (const char* text : {"", "{", "{}}", "{]", "{\"a\"}", "nonsense", "{}{}",
                           "{\"a\":\"\\ud800\"}", "\xef\xbb\xbf{}"})
    EXPECT_EQ(ParseStatus(FileOf(text, 0)).code(), absl::StatusCode::kDataLoss)
        << text;
}

TEST(SafetensorsHeader, ZeroBytesDoNotEndIt) {
  ExpectRefused(FileOf(std::string("{}\0\0", 4), 0), "zero byte at byte 2");
}

TEST(SafetensorsHeader, WrongTypes) {
  for (const char* text :
       {"[]", "7", "null", "\"a\"", "{\"a\":1}", "{\"a\":[]}", "{\"a\":null}",
        "{\"__metadata__\":[]}", "{\"__metadata__\":{\"a\":{}}}"})
    EXPECT_EQ(ParseStatus(FileOf(text, 0)).code(), absl::StatusCode::kDataLoss)
        << text;
  const std::string rest = ",\"shape\":[],\"data_offsets\":[0,4]}}";
  ExpectRefused(FileOf("{\"a\":{\"dtype\":5" + rest, 4), "unexpected number 5");
  ExpectRefused(FileOf("{\"a\":{\"dtype\":[]" + rest, 4), "unexpected array");
  ExpectRefused(FileOf("{\"a\":{\"dtype\":{}" + rest, 4), "unexpected object");
  ExpectRefused(FileOf("{\"a\":{\"dtype\":\"F32\",\"shape\":4}}", 4),
                "a: unexpected number 4");
  ExpectRefused(FileOf(Object(TensorEntry("a", "F32", "[1]", "0,4")), 4),
                "a: unexpected array");
}

TEST(SafetensorsHeader, UnknownDType) {
  ExpectRefused(FileOf(Object(TensorEntry("a", "F33", "1", "0,4")), 4),
                "a: no element type is called F33");
}

TEST(SafetensorsHeader, MetadataThatIsNoString) {
  ExpectRefused(FileOf("{\"__metadata__\":{\"a\":1}}", 0),
                "__metadata__: unexpected number 1");
  ExpectRefused(FileOf("{\"__metadata__\":{\"a\":null}}", 0), "null");
  ExpectRefused(FileOf("{\"__metadata__\":{\"a\":true}}", 0), "boolean");
}

TEST(SafetensorsHeader, NegativeOrFractionalNumbers) {
  for (const char* number :
       {"-1", "1.5", "1.0", "1e0", "18446744073709551616", "-0"}) {
    ExpectRefused(FileOf(Object(TensorEntry("a", "F32", number, "0,4")), 4),
                  "a: unexpected");
    ExpectRefused(
        FileOf(Object(TensorEntry("a", "F32", "1", absl::StrCat(number, ",4"))),
               4),
        "a: unexpected");
  }
}

TEST(SafetensorsHeader, MissingKeys) {
  for (const char* tensor : {"{}", "{\"dtype\":\"F32\",\"shape\":[]}",
                             "{\"dtype\":\"F32\",\"data_offsets\":[0,4]}",
                             "{\"shape\":[],\"data_offsets\":[0,4]}"})
    ExpectRefused(FileOf(absl::StrCat("{\"a\":", tensor, "}"), 4),
                  "a needs the keys dtype, shape and data_offsets");
}

TEST(SafetensorsHeader, OffsetsAreTwo) {
  for (const char* offsets : {"", "0", "0,4,4"})
    ExpectRefused(FileOf(Object(TensorEntry("a", "F32", "", offsets)), 4),
                  "must hold 2");
}

TEST(SafetensorsHeader, HolesAndOverlaps) {
  ExpectRefused(FileOf(Object(TensorEntry("a", "F32", "1", "4,8")), 8),
                "a: data_offsets are [4, 8], must begin at 0");
  const std::string first = TensorEntry("a", "F32", "2", "0,8") + ",";
  ExpectRefused(
      FileOf(Object(first + TensorEntry("b", "F32", "1", "12,16")), 16),
      "b: data_offsets are [12, 16], must begin at 8");
  ExpectRefused(
      FileOf(Object(first + TensorEntry("b", "F32", "2", "4,12")), 12),
      "b: data_offsets are [4, 12], must begin at 8");
  ExpectRefused(FileOf(Object(first + TensorEntry("b", "F32", "2", "0,8")), 8),
                "b: data_offsets are [0, 8], must begin at 8");
}

TEST(SafetensorsHeader, EndBeforeBegin) {
  ExpectRefused(FileOf(Object(TensorEntry("z", "F32", "1", "0,4") + "," +
                              TensorEntry("a", "F32", "1", "4,0")),
                       4),
                "a: data_offsets are [4, 0]");
}

TEST(SafetensorsHeader, SizesBeyond64Bits) {
  for (const char* shape :
       {"4294967296,4294967296", "18446744073709551615,2",
        "0,4294967296,4294967296,4294967296", "1152921504606846976"}) {
    const absl::Status status =
        ParseStatus(FileOf(Object(TensorEntry("a", "F32", shape, "0,0")), 0));
    if (absl::string_view(shape).substr(0, 2) == "0,") {
      // 0 times anything is 0 before the overflow is reached.
      EXPECT_TRUE(status.ok()) << status;
    } else {
      EXPECT_THAT(std::string(status.message()), HasSubstr("beyond 64 bits"));
    }
  }
}

TEST(SafetensorsHeader, BitsThatAreNoBytes) {
  ExpectRefused(FileOf(Object(TensorEntry("a", "F4", "3", "0,1")), 1),
                "a: its 12 bits are no whole bytes");
  ExpectRefused(FileOf(Object(TensorEntry("a", "F6_E2M3", "2", "0,1")), 1),
                "a: its 12 bits");
  EXPECT_TRUE(
      ParseStatus(FileOf(Object(TensorEntry("a", "F6_E3M2", "4", "0,3")), 3))
          .ok());
}

TEST(SafetensorsHeader, SizeThatDisagreesWithTheShape) {
  ExpectRefused(FileOf(Object(TensorEntry("a", "F32", "2", "0,4")), 4),
                "take 4 bytes, shape and dtype ask for 8");
}

TEST(SafetensorsHeader, ShortFileAndTrailingBytes) {
  const std::string header = Object(TensorEntry("a", "F32", "2", "0,8"));
  ExpectRefused(FileOf(header, 7),
                "7 bytes lie behind the header, the tensors take 8");
  ExpectRefused(FileOf(header, 9), "9 bytes");
  ExpectRefused(FileOf("{}", 1), "the tensors take 0");
}

TEST(SafetensorsHeader, DuplicateKeys) {
  const std::string a = TensorEntry("a", "F32", "0", "0,0");
  ExpectRefused(FileOf(Object(a + "," + a), 0), "a appears twice");
  ExpectRefused(FileOf("{\"__metadata__\":{},\"__metadata__\":{}}", 0),
                "__metadata__ appears twice");
  ExpectRefused(FileOf("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0),
                "metadata k appears twice");
  ExpectRefused(FileOf("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0),
                "a: dtype appears twice");
}

TEST(SafetensorsHeader, MoreDimsThanAnyFrameworkHas) {
  std::string shape = "1";
  for (int i = 0; i < 64; ++i) shape += ",1";
  ExpectRefused(FileOf(Object(TensorEntry("a", "U8", shape, "0,1")), 1),
                "more than 64 dims");
}

TEST(SafetensorsHeader, WhatTheFormatAllows) {
  EXPECT_TRUE(ParseStatus(FileOf("{}", 0)).ok());
  EXPECT_TRUE(ParseStatus(FileOf(" \n{ } \t ", 0)).ok());
  EXPECT_TRUE(
      ParseStatus(FileOf(Object(TensorEntry("a", "F32", "", "0,4")), 4)).ok());
  EXPECT_TRUE(
      ParseStatus(FileOf(Object(TensorEntry("a", "F32", "3,0", "0,0")), 0))
          .ok());
  // Keys in any order, tensors in any order, unknown keys with any value.
  EXPECT_TRUE(
      ParseStatus(
          FileOf(
              Object(TensorEntry("b", "I8", "2", "4,6") +
                     ",\"a\":{\"shape\":[1],\"x\":[{\"y\":[-1.5,null]},true],"
                     "\"data_offsets\":[0,4],\"z\":null,\"dtype\":\"F32\"}"),
              6))
          .ok());
}

TEST(SafetensorsHeader, DeepNestingEndsNoStack) {
  const std::string deep(5'000'000, '[');
  ExpectRefused(FileOf("{\"a\":{\"x\":" + deep, 0), "no valid JSON");
}

constexpr size_t kMutatedData = 36;  // bytes behind the header

// One to three small edits, of the kinds that break parsers.
std::string Mutate(std::string file, std::mt19937& random) {
  const std::string characters =
      absl::StrCat("{}[]\",:0123456789eE-.\\ \x80\xff", std::string(1, '\0'));
  const std::string pieces[] = {"18446744073709551615", "{\"",     "]}", "null",
                                "\"dtype\":\"F4\"",     ",\"a\":{"};
  auto below = [&](size_t n) { return random() % n; };
  for (size_t edits = 1 + below(3); edits-- > 0 && !file.empty();) {
    const size_t at = below(file.size());
    const size_t kind = below(4);
    if (kind == 0) file[at] = characters[below(characters.size())];
    if (kind == 1) file.erase(at, 1 + below(9));
    if (kind == 2) file.insert(at, pieces[below(6)]);
    if (kind == 3 && below(4) == 0) file.resize(at);
  }
  // A right length lets more of them through to the later checks.
  if (below(2) == 0 && file.size() > 8 + kMutatedData) {
    const uint64_t length = file.size() - 8 - kMutatedData;
    std::memcpy(file.data(), &length, 8);
  }
  return file;
}

// Whatever the bytes are, a header that is accepted describes the file.
TEST(SafetensorsHeader, MutatedFilesNeverLeadOutOfTheFile) {
  const std::string good =
      FileOf(Object(absl::StrCat("\"__metadata__\":{\"format\":\"pt\"},",
                                 TensorEntry("a", "F32", "2,3", "0,24"), ",",
                                 TensorEntry("b", "BF16", "5", "24,34"), ",",
                                 TensorEntry("c", "F4", "4", "34,36"))),
             kMutatedData);
  std::mt19937 random(1);
  int accepted = 0;
  for (int round = 0; round < 30000; ++round) {
    const std::string file = Mutate(good, random);
    const absl::StatusOr<SafetensorsHeader> header =
        ParseSafetensorsHeader(file);
    if (!header.ok()) continue;
    ++accepted;
    uint64_t end = header->data_begin;
    for (const StoredTensor& tensor : header->tensors) {
      ASSERT_EQ(header->data_begin + tensor.begin, end);
      end += tensor.end - tensor.begin;
    }
    ASSERT_EQ(end, file.size());
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace moe
