#include "trainer/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

using testing::HasSubstr;

// A file of this header (as it is, or padded to 8) and so many data bytes.
std::string FileOf(const std::string& json, size_t data_bytes) {
  std::string file;
  for (int i = 0; i < 8; ++i)
    file.push_back(static_cast<char>((json.size() >> (8 * i)) & 0xff));
  return file + json + std::string(data_bytes, '\x01');
}

absl::Status ParseStatus(const std::string& file) {
  return ParseSafetensorsHeader(file).status();
}

void ExpectRefused(const std::string& file, const std::string& message) {
  const absl::Status status = ParseStatus(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

std::string Tensor(const std::string& name, const std::string& dtype,
                   const std::string& shape, const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[",
                      shape, "],\"data_offsets\":[", offsets, "]}");
}

std::string Object(const std::string& entries) {
  return absl::StrCat("{", entries, "}");
}

class SafetensorsFiles : public testing::Test {
 protected:
  SafetensorsFiles()
      : path_(JoinPath(
            testing::TempDir(),
            testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~SafetensorsFiles() override {
    EXPECT_TRUE(PosixFileSystem().Remove(path_).ok());
  }

  void Write(const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), path_, bytes).ok());
  }
  SafetensorsFile Open() {
    absl::StatusOr<SafetensorsFile> file =
        SafetensorsFile::Open(PosixFileSystem(), path_);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  const std::string path_;
};

// a = [1, -2] in F32, as the reference library writes it.
std::string GoldenBytes() {
  return absl::HexStringToBytes(
      "58000000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a2270"
      "74227d2c2261223a7b226474797065223a22463332222c227368617065223a5b325d2c22"
      "646174615f6f666673657473223a5b302c385d7d7d2020200000803f000000c0");
}

TEST_F(SafetensorsFiles, WriterMakesTheReferencesBytes) {
  auto writer = SafetensorsWriter::Create(
      PosixFileSystem(), path_,
      {{.name = "a", .dtype = StoredDType::kF32, .shape = {2}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append("a", {1.0f}).ok());  // in pieces
  ASSERT_TRUE((*writer)->Append("a", {-2.0f}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(*PosixFileSystem().ReadFile(path_, 1000), GoldenBytes());
}

TEST_F(SafetensorsFiles, ReaderTakesTheReferencesBytes) {
  Write(GoldenBytes());
  const SafetensorsFile file = Open();
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_NE(file.Find("a"), nullptr);
  EXPECT_EQ(file.Find("b"), nullptr);
  std::vector<float> values(2);
  ASSERT_TRUE(file.ReadFloats(*file.Find("a"), 0, absl::MakeSpan(values)).ok());
  EXPECT_EQ(values, (std::vector<float>{1, -2}));
}

TEST_F(SafetensorsFiles, SecondHalfOfATensorIsReadAlone) {
  Write(GoldenBytes());
  const SafetensorsFile file = Open();
  float value = 0;
  ASSERT_TRUE(
      file.ReadFloats(*file.Find("a"), 1, absl::MakeSpan(&value, 1)).ok());
  EXPECT_EQ(value, -2);
}

TEST_F(SafetensorsFiles, WideTypesComeFirstThenNames) {
  std::vector<StoredTensor> tensors = {
      {.name = "b", .dtype = StoredDType::kBF16, .shape = {1}},
      {.name = "z", .dtype = StoredDType::kF32, .shape = {}},
      {.name = "a", .dtype = StoredDType::kBF16, .shape = {3}},
      {.name = "i", .dtype = StoredDType::kI64, .shape = {0, 5}},
      {.name = "y", .dtype = StoredDType::kF32, .shape = {2, 2}}};
  LayOutTensors(tensors);
  std::vector<std::string> names;
  for (const StoredTensor& tensor : tensors)
    names.push_back(absl::StrCat(tensor.name, tensor.begin, "-", tensor.end));
  EXPECT_EQ(names, (std::vector<std::string>{"i0-0", "y0-16", "z16-20",
                                             "a20-26", "b26-28"}));
}

TEST_F(SafetensorsFiles, NamesAndMetadataAreEscaped) {
  const std::string name = "quote \" slash \\ line \n gr\xc3\xbc\xc3\x9f";
  auto writer = SafetensorsWriter::Create(
      PosixFileSystem(), path_,
      {{.name = name, .dtype = StoredDType::kF32, .shape = {1}}},
      {{"k\"ey", name}});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append(name, {7.0f}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const SafetensorsFile file = Open();
  EXPECT_NE(file.Find(name), nullptr);
  EXPECT_EQ(file.metadata().at("k\"ey"), name);
}

TEST_F(SafetensorsFiles, DataBeginsAtAMultipleOf8) {
  for (int length = 1; length < 20; ++length) {
    std::vector<StoredTensor> tensors = {
        {.name = std::string(static_cast<size_t>(length), 'n'),
         .dtype = StoredDType::kU8,
         .shape = {1}}};
    LayOutTensors(tensors);
    EXPECT_EQ(SafetensorsHeaderBytes(tensors, {}).size() % 8, 0u);
  }
}

TEST_F(SafetensorsFiles, AMovedFileStillFindsItsTensors) {
  Write(GoldenBytes());
  SafetensorsFile file = Open();
  const SafetensorsFile moved = std::move(file);
  ASSERT_NE(moved.Find("a"), nullptr);
  EXPECT_EQ(moved.Bytes(*moved.Find("a")).size(), 8u);
}

TEST_F(SafetensorsFiles, BFloat16IsReadAsFloat) {
  Write(FileOf(Object(Tensor("a", "BF16", "3", "0,6")), 0) +
        std::string("\x80\x3f\x00\xc0\x80\x7f", 6));
  const SafetensorsFile file = Open();
  std::vector<float> values(3);
  ASSERT_TRUE(file.ReadFloats(*file.Find("a"), 0, absl::MakeSpan(values)).ok());
  EXPECT_EQ(values, (std::vector<float>{
                        1, -2, std::numeric_limits<float>::infinity()}));
}

TEST_F(SafetensorsFiles, HalfIsReadAsFloatInAllItsKinds) {
  const std::vector<std::pair<uint16_t, float>> kinds = {
      {0x3c00, 1.0f},
      {0xc000, -2.0f},
      {0x7bff, 65504.0f},
      {0x0400, 0x1p-14f},
      {0x0001, 0x1p-24f},
      {0x83ff, -0x1.ff8p-15f},
      {0x3555, 0.33325195f},
      {0x0000, 0.0f},
      {0x7c00, std::numeric_limits<float>::infinity()}};
  std::string data;
  for (const auto& [bits, value] : kinds) {
    data.push_back(static_cast<char>(bits & 0xff));
    data.push_back(static_cast<char>(bits >> 8));
  }
  data += std::string("\x00\x80\x01\x7e", 4);  // -0 and a NaN
  Write(FileOf(Object(Tensor("a", "F16", "11", "0,22")), 0) + data);
  const SafetensorsFile file = Open();
  std::vector<float> values(11);
  ASSERT_TRUE(file.ReadFloats(*file.Find("a"), 0, absl::MakeSpan(values)).ok());
  for (size_t i = 0; i < kinds.size(); ++i)
    EXPECT_EQ(values[i], kinds[i].second) << i;
  EXPECT_TRUE(values[9] == 0 && std::signbit(values[9]));
  EXPECT_TRUE(std::isnan(values[10]));
}

TEST_F(SafetensorsFiles, IntegersAreNoFloats) {
  Write(FileOf(Object(Tensor("ids", "I32", "2", "0,8")), 8));
  const SafetensorsFile file = Open();
  std::vector<float> values(2);
  const absl::Status status =
      file.ReadFloats(*file.Find("ids"), 0, absl::MakeSpan(values));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("ids is I32, must be F32, BF16 or F16"));
}

TEST_F(SafetensorsFiles, AnErrorNamesTheFile) {
  Write("short");
  const absl::Status status =
      SafetensorsFile::Open(PosixFileSystem(), path_).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

TEST_F(SafetensorsFiles, EveryRefusedWriteIsReported) {
  auto write = [&](FakeFileSystem& files) -> absl::Status {
    auto writer = SafetensorsWriter::Create(
        files, path_,
        {{.name = "a", .dtype = StoredDType::kF32, .shape = {2}}});
    if (!writer.ok()) return writer.status();
    const absl::Status status = (*writer)->Append("a", {1.0f, 2.0f});
    return status.ok() ? (*writer)->Finish() : status;
  };
  FakeFileSystem files;
  ASSERT_TRUE(write(files).ok());
  const int64_t writes = files.num_writes();
  EXPECT_EQ(writes, 5);  // create, header, elements, sync, close
  for (int64_t k = 1; k <= writes; ++k) {
    files.FailWrite(k);
    EXPECT_EQ(write(files).code(), absl::StatusCode::kAborted) << k;
  }
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
  ExpectRefused(FileOf(Object(Tensor("a", "F32", "[1]", "0,4")), 4),
                "a: unexpected array");
}

TEST(SafetensorsHeader, UnknownDType) {
  ExpectRefused(FileOf(Object(Tensor("a", "F33", "1", "0,4")), 4),
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
    ExpectRefused(FileOf(Object(Tensor("a", "F32", number, "0,4")), 4),
                  "a: unexpected");
    ExpectRefused(
        FileOf(Object(Tensor("a", "F32", "1", absl::StrCat(number, ",4"))), 4),
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
    ExpectRefused(FileOf(Object(Tensor("a", "F32", "", offsets)), 4),
                  "must hold 2");
}

TEST(SafetensorsHeader, HolesAndOverlaps) {
  ExpectRefused(FileOf(Object(Tensor("a", "F32", "1", "4,8")), 8),
                "a: data_offsets are [4, 8], must begin at 0");
  const std::string first = Tensor("a", "F32", "2", "0,8") + ",";
  ExpectRefused(FileOf(Object(first + Tensor("b", "F32", "1", "12,16")), 16),
                "b: data_offsets are [12, 16], must begin at 8");
  ExpectRefused(FileOf(Object(first + Tensor("b", "F32", "2", "4,12")), 12),
                "b: data_offsets are [4, 12], must begin at 8");
  ExpectRefused(FileOf(Object(first + Tensor("b", "F32", "2", "0,8")), 8),
                "b: data_offsets are [0, 8], must begin at 8");
}

TEST(SafetensorsHeader, EndBeforeBegin) {
  ExpectRefused(FileOf(Object(Tensor("z", "F32", "1", "0,4") + "," +
                              Tensor("a", "F32", "1", "4,0")),
                       4),
                "a: data_offsets are [4, 0]");
}

TEST(SafetensorsHeader, SizesBeyond64Bits) {
  for (const char* shape :
       {"4294967296,4294967296", "18446744073709551615,2",
        "0,4294967296,4294967296,4294967296", "1152921504606846976"}) {
    const absl::Status status =
        ParseStatus(FileOf(Object(Tensor("a", "F32", shape, "0,0")), 0));
    if (absl::string_view(shape).substr(0, 2) == "0,") {
      // 0 times anything is 0 before the overflow is reached.
      EXPECT_TRUE(status.ok()) << status;
    } else {
      EXPECT_THAT(std::string(status.message()), HasSubstr("beyond 64 bits"));
    }
  }
}

TEST(SafetensorsHeader, BitsThatAreNoBytes) {
  ExpectRefused(FileOf(Object(Tensor("a", "F4", "3", "0,1")), 1),
                "a: its 12 bits are no whole bytes");
  ExpectRefused(FileOf(Object(Tensor("a", "F6_E2M3", "2", "0,1")), 1),
                "a: its 12 bits");
  EXPECT_TRUE(
      ParseStatus(FileOf(Object(Tensor("a", "F6_E3M2", "4", "0,3")), 3)).ok());
}

TEST(SafetensorsHeader, SizeThatDisagreesWithTheShape) {
  ExpectRefused(FileOf(Object(Tensor("a", "F32", "2", "0,4")), 4),
                "take 4 bytes, shape and dtype ask for 8");
}

TEST(SafetensorsHeader, ShortFileAndTrailingBytes) {
  const std::string header = Object(Tensor("a", "F32", "2", "0,8"));
  ExpectRefused(FileOf(header, 7),
                "7 bytes lie behind the header, the tensors take 8");
  ExpectRefused(FileOf(header, 9), "9 bytes");
  ExpectRefused(FileOf("{}", 1), "the tensors take 0");
}

TEST(SafetensorsHeader, DuplicateKeys) {
  const std::string a = Tensor("a", "F32", "0", "0,0");
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
  ExpectRefused(FileOf(Object(Tensor("a", "U8", shape, "0,1")), 1),
                "more than 64 dims");
}

TEST(SafetensorsHeader, WhatTheFormatAllows) {
  EXPECT_TRUE(ParseStatus(FileOf("{}", 0)).ok());
  EXPECT_TRUE(ParseStatus(FileOf(" \n{ } \t ", 0)).ok());
  EXPECT_TRUE(
      ParseStatus(FileOf(Object(Tensor("a", "F32", "", "0,4")), 4)).ok());
  EXPECT_TRUE(
      ParseStatus(FileOf(Object(Tensor("a", "F32", "3,0", "0,0")), 0)).ok());
  // Keys in any order, tensors in any order, unknown keys with any value.
  EXPECT_TRUE(
      ParseStatus(
          FileOf(
              Object(Tensor("b", "I8", "2", "4,6") +
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
                                 Tensor("a", "F32", "2,3", "0,24"), ",",
                                 Tensor("b", "BF16", "5", "24,34"), ",",
                                 Tensor("c", "F4", "4", "34,36"))),
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

TEST(SafetensorsHeader, ReadsWhatTheReferenceLibraryWrote) {
  const auto file = SafetensorsFile::Open(
      PosixFileSystem(), MOE_GOLDEN_DIRECTORY "/mixtral_tiny.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_GT(file->tensors().size(), 10u);
  // What we would write for these tensors lies in the same order.
  std::vector<StoredTensor> ours = file->tensors();
  LayOutTensors(ours);
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].name, file->tensors()[i].name);
    EXPECT_EQ(ours[i].begin, file->tensors()[i].begin);
  }
}

}  // namespace
}  // namespace moe
