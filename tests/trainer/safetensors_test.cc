#include "trainer/checkpoint/format/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/fake_file_system.h"
#include "tests/trainer/safetensors_bytes.h"

namespace moe {
namespace {

using testing::HasSubstr;

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
  Write(FileOf(Object(TensorEntry("a", "BF16", "3", "0,6")), 0) +
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
  Write(FileOf(Object(TensorEntry("a", "F16", "11", "0,22")), 0) + data);
  const SafetensorsFile file = Open();
  std::vector<float> values(11);
  ASSERT_TRUE(file.ReadFloats(*file.Find("a"), 0, absl::MakeSpan(values)).ok());
  for (size_t i = 0; i < kinds.size(); ++i)
    EXPECT_EQ(values[i], kinds[i].second) << i;
  EXPECT_TRUE(values[9] == 0 && std::signbit(values[9]));
  EXPECT_TRUE(std::isnan(values[10]));
}

TEST_F(SafetensorsFiles, IntegersAreNoFloats) {
  Write(FileOf(Object(TensorEntry("ids", "I32", "2", "0,8")), 8));
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

TEST_F(SafetensorsFiles, ReadsWhatTheReferenceLibraryWrote) {
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
