#include "data/indexed_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "data/indexed_dataset_writer.h"
#include "tests/data/temporary_directory.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Documents [1, 2, 3] and [4, 5] as uint16, as Megatron-LM writes them.
const char kGoldenIdx[] =
    "4d4d4944494458000001000000000000000802000000000000000300000000000000030000"
    "00020000000000000000000000060000000000000000000000000000000100000000000000"
    "0200000000000000";
const char kGoldenBin[] = "01000200030004000500";

template <typename T>
std::string Bytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

// The pieces of an .idx, to be bent one at a time.
struct Index {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;
  uint64_t num_sequences = 2;
  uint64_t num_document_indices = 3;
  std::vector<int32_t> lengths = {3, 2};
  std::vector<int64_t> begins = {0, 6};
  std::vector<int64_t> document_indices = {0, 1, 2};
  std::string tail;

  std::string Serialize() const {
    std::string out = magic + Bytes(version) + Bytes(type) +
                      Bytes(num_sequences) + Bytes(num_document_indices);
    for (const int32_t length : lengths) out += Bytes(length);
    for (const int64_t begin : begins) out += Bytes(begin);
    for (const int64_t index : document_indices) out += Bytes(index);
    return out + tail;
  }
};

class IndexedDatasetTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<IndexedDataset>> Open(const std::string& idx,
                                                       const std::string& bin) {
    directory_.Write("p.idx", idx);
    directory_.Write("p.bin", bin);
    return IndexedDataset::Open(PosixFileSystem(), directory_.Path("p"));
  }
  void ExpectRefused(const Index& index, absl::StatusCode code,
                     const std::string& words) {
    const absl::Status status =
        Open(index.Serialize(), absl::HexStringToBytes(kGoldenBin)).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_THAT(std::string(status.message()), HasSubstr("p.idx"));
  }
  static std::vector<int32_t> ReadAll(const IndexedDataset& dataset) {
    std::vector<int32_t> ids(static_cast<size_t>(dataset.num_tokens()));
    EXPECT_TRUE(dataset.Read(0, 1 << 30, absl::MakeSpan(ids)).ok());
    return ids;
  }

  TemporaryDirectory directory_;
};

TEST_F(IndexedDatasetTest, WriterMakesTheGoldenBytes) {
  auto writer = IndexedDatasetWriter::Create(
      PosixFileSystem(), directory_.Path("p"), TokenType::kUint16);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE((*writer)->AddDocument({1, 2, 3}).ok());
  EXPECT_TRUE((*writer)->AddDocument({4, 5}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(absl::BytesToHexString(directory_.Read("p.idx")), kGoldenIdx);
  EXPECT_EQ(absl::BytesToHexString(directory_.Read("p.bin")), kGoldenBin);
  EXPECT_EQ((*writer)->num_documents(), 2);
  EXPECT_EQ((*writer)->num_tokens(), 5);
}

TEST_F(IndexedDatasetTest, ReaderReadsTheGoldenBytes) {
  auto dataset = Open(absl::HexStringToBytes(kGoldenIdx),
                      absl::HexStringToBytes(kGoldenBin));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->num_documents(), 2);
  EXPECT_EQ((*dataset)->num_sequences(), 2);
  EXPECT_EQ((*dataset)->num_tokens(), 5);
  EXPECT_EQ((*dataset)->token_type(), TokenType::kUint16);
  EXPECT_EQ((*dataset)->DocumentBegin(0), 0);
  EXPECT_EQ((*dataset)->DocumentBegin(1), 3);
  EXPECT_EQ((*dataset)->DocumentBegin(2), 5);
  EXPECT_THAT(ReadAll(**dataset), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(IndexedDatasetTest, DocumentsMayHaveManySequencesOrNone) {
  Index index;
  index.document_indices = {0, 0, 2, 2};
  index.num_document_indices = 4;
  auto dataset = Open(index.Serialize(), absl::HexStringToBytes(kGoldenBin));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->num_documents(), 3);
  EXPECT_EQ((*dataset)->DocumentBegin(1), 0);
  EXPECT_EQ((*dataset)->DocumentBegin(2), 5);
  for (int64_t token = 0; token < 5; ++token) {
    EXPECT_EQ((*dataset)->DocumentOf(token), 1);
  }
}

TEST_F(IndexedDatasetTest, ModesOfMultimodalSequencesArePassedOver) {
  Index index;
  index.tail = std::string("\0\1", 2);
  auto dataset = Open(index.Serialize(), absl::HexStringToBytes(kGoldenBin));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT(ReadAll(**dataset), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(IndexedDatasetTest, ADatasetOfNothingOpens) {
  Index index;
  index.num_sequences = 0;
  index.num_document_indices = 1;
  index.lengths.clear();
  index.begins.clear();
  index.document_indices = {0};
  auto dataset = Open(index.Serialize(), "");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->num_tokens(), 0);
  EXPECT_EQ((*dataset)->num_documents(), 0);
}

TEST_F(IndexedDatasetTest, EveryTruncationOfTheIndexIsRefused) {
  const std::string whole = absl::HexStringToBytes(kGoldenIdx);
  for (size_t size = 0; size < whole.size(); ++size) {
    const absl::Status status =
        Open(whole.substr(0, size), absl::HexStringToBytes(kGoldenBin))
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST_F(IndexedDatasetTest, EveryOtherSizeOfTheTokensIsRefused) {
  const std::string bin = absl::HexStringToBytes(kGoldenBin) + "xyz";
  for (size_t size = 0; size <= bin.size(); ++size) {
    if (size == 10) continue;
    const absl::Status status =
        Open(absl::HexStringToBytes(kGoldenIdx), bin.substr(0, size)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat(size, " bytes")))
        << size;
  }
}

TEST_F(IndexedDatasetTest, AMissingFileIsNotFoundByName) {
  const absl::Status neither =
      IndexedDataset::Open(PosixFileSystem(), directory_.Path("p")).status();
  EXPECT_EQ(neither.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(neither.message()), HasSubstr("p.idx"));
  directory_.Write("p.idx", "x");
  const absl::Status no_bin =
      IndexedDataset::Open(PosixFileSystem(), directory_.Path("p")).status();
  EXPECT_EQ(no_bin.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(no_bin.message()), HasSubstr("p.bin"));
}

TEST_F(IndexedDatasetTest, AWrongMagicIsRefused) {
  Index index;
  index.magic[8] = 'x';
  ExpectRefused(index, absl::StatusCode::kDataLoss, "no Megatron index");
}

TEST_F(IndexedDatasetTest, AWrongVersionIsRefused) {
  Index index;
  index.version = 2;
  ExpectRefused(index, absl::StatusCode::kDataLoss, "version is 2, must be 1");
}

TEST_F(IndexedDatasetTest, AnUnknownTypeIsRefused) {
  for (const int code : {0, 9, 255}) {
    Index index;
    index.type = static_cast<uint8_t>(code);
    ExpectRefused(index, absl::StatusCode::kDataLoss,
                  absl::StrCat("token type is ", code, ", must be from 1 to"));
  }
}

TEST_F(IndexedDatasetTest, FloatingPointTokensAreRefused) {
  for (const int code : {6, 7}) {
    Index index;
    index.type = static_cast<uint8_t>(code);
    ExpectRefused(index, absl::StatusCode::kFailedPrecondition,
                  absl::StrCat("token type is ", code, " (floating point)"));
  }
}

TEST_F(IndexedDatasetTest, CountsThatDisagreeWithTheSizeAreRefused) {
  // The second ones make 12 S + 8 D overflow to something small.
  for (const uint64_t count : {uint64_t{1}, uint64_t{1} << 61, ~uint64_t{0}}) {
    Index index;
    index.num_sequences = count;
    ExpectRefused(index, absl::StatusCode::kDataLoss,
                  absl::StrCat(count, " sequences"));
  }
  for (const uint64_t count : {uint64_t{0}, uint64_t{1} << 61, ~uint64_t{0}}) {
    Index index;
    index.num_document_indices = count;
    ExpectRefused(index, absl::StatusCode::kDataLoss,
                  absl::StrCat(count, " document indices"));
  }
}

TEST_F(IndexedDatasetTest, ANegativeLengthIsRefused) {
  Index index;
  index.lengths = {-3, 8};
  ExpectRefused(index, absl::StatusCode::kDataLoss, "sequence 0 has -3 tokens");
}

TEST_F(IndexedDatasetTest, SequencesThatOverlapLeaveGapsOrGoBackAreRefused) {
  for (const int64_t begin : {int64_t{4}, int64_t{8}, int64_t{-6}}) {
    Index index;
    index.begins[1] = begin;
    ExpectRefused(
        index, absl::StatusCode::kDataLoss,
        absl::StrCat("sequence 1 begins at byte ", begin, ", must be 6"));
  }
}

// Megatron follows the pointers of such an index; here it is of another file.
TEST_F(IndexedDatasetTest, AnIndexOverAPartOfABinIsRefused) {
  const std::string why = "; an index must say all of its .bin, in order";
  Index end;
  end.begins = {4, 10};
  ExpectRefused(end, absl::StatusCode::kDataLoss,
                "sequence 0 begins at byte 4, must be 0" + why);
  Index beginning;
  beginning.lengths = {3, 1};
  ExpectRefused(beginning, absl::StatusCode::kDataLoss,
                "p.bin has 10 bytes: not of one pair" + why);
}

TEST_F(IndexedDatasetTest, ASequencePastTheEndIsRefused) {
  Index index;
  index.lengths[1] = 3;
  ExpectRefused(index, absl::StatusCode::kDataLoss,
                "sequence 1 ends at byte 12, past the 10 bytes of");
}

TEST_F(IndexedDatasetTest, DocumentIndicesThatAreNotAStaircaseAreRefused) {
  Index index;
  index.document_indices = {1, 1, 2};
  ExpectRefused(index, absl::StatusCode::kDataLoss,
                "document index 0 is 1, must be 0");
  index.document_indices = {0, 2, 1};
  ExpectRefused(index, absl::StatusCode::kDataLoss,
                "document index 2 is 1, must be at least 2");
  index.document_indices = {0, 1, 1};
  ExpectRefused(index, absl::StatusCode::kDataLoss,
                "last document index is 1, must be 2");
}

TEST_F(IndexedDatasetTest, EveryIntegerTypeIsRead) {
  const auto read = [&](TokenType type) {
    const int64_t bytes = TokenBytes(type);
    std::string bin;
    for (int64_t id : {7, 0, 100, 1, 2}) {
      bin += Bytes(id).substr(0, static_cast<size_t>(bytes));
    }
    Index index;
    index.type = static_cast<uint8_t>(type);
    index.begins[1] = 3 * bytes;
    auto dataset = Open(index.Serialize(), bin);
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    return ReadAll(**dataset);
  };
  for (const TokenType type :
       {TokenType::kUint8, TokenType::kInt8, TokenType::kInt16,
        TokenType::kInt32, TokenType::kInt64, TokenType::kUint16}) {
    EXPECT_THAT(read(type), ElementsAre(7, 0, 100, 1, 2))
        << TokenTypeName(type);
  }
}

TEST_F(IndexedDatasetTest, AnIdBeyondTheVocabularyIsRefusedWithItsPlace) {
  auto dataset = Open(absl::HexStringToBytes(kGoldenIdx),
                      absl::HexStringToBytes(kGoldenBin));
  std::vector<int32_t> ids(2);
  EXPECT_TRUE((*dataset)->Read(3, 6, absl::MakeSpan(ids)).ok());
  const absl::Status status = (*dataset)->Read(3, 5, absl::MakeSpan(ids));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("p.bin: token 1 of document 1 is 5, must be at least 0 "
                        "and less than vocab_size (5)"));
}

TEST_F(IndexedDatasetTest, NegativeAndHugeIdsAreRefused) {
  for (const int64_t id : {int64_t{-1}, int64_t{1} << 40}) {
    Index index;
    index.type = static_cast<uint8_t>(TokenType::kInt64);
    index.begins[1] = 24;
    std::string bin;
    for (const int64_t value : {int64_t{0}, int64_t{0}, id, id, id}) {
      bin += Bytes(value);
    }
    auto dataset = Open(index.Serialize(), bin);
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    std::vector<int32_t> ids(5);
    const absl::Status status = (*dataset)->Read(0, 9, absl::MakeSpan(ids));
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("token 2 of document 0 is ", id)));
  }
}

TEST_F(IndexedDatasetTest, WideIdsAndLongDocumentsComeBack) {
  std::vector<int32_t> ids(700001);  // more than one piece of the writer
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(3 * i);
  auto writer = IndexedDatasetWriter::Create(
      PosixFileSystem(), directory_.Path("p"), TokenType::kInt32);
  ASSERT_TRUE((*writer)->AddDocument(ids).ok());
  ASSERT_TRUE((*writer)->AddDocument({}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  auto dataset = IndexedDataset::Open(PosixFileSystem(), directory_.Path("p"));
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->num_documents(), 2);
  EXPECT_EQ(ReadAll(**dataset), ids);
}

TEST_F(IndexedDatasetTest, AnUnfinishedWriterLeavesTheOldPairAlone) {
  directory_.Write("p.idx", absl::HexStringToBytes(kGoldenIdx));
  directory_.Write("p.bin", absl::HexStringToBytes(kGoldenBin));
  {
    auto writer = IndexedDatasetWriter::Create(
        PosixFileSystem(), directory_.Path("p"), TokenType::kUint16);
    ASSERT_TRUE((*writer)->AddDocument({9, 9, 9}).ok());
  }
  EXPECT_THAT(*PosixFileSystem().List(directory_.path()),
              ElementsAre("p.bin", "p.idx"));
  EXPECT_EQ(absl::BytesToHexString(directory_.Read("p.bin")), kGoldenBin);
}

// A reader must never find an index beside tokens that are not its own.
TEST_F(IndexedDatasetTest, WhateverFailsTheIndexDescribesTheTokens) {
  bool succeeded = false;
  for (int fail_from = 1; !succeeded; ++fail_from) {
    directory_.Write("p.idx", absl::HexStringToBytes(kGoldenIdx));
    directory_.Write("p.bin", absl::HexStringToBytes(kGoldenBin));
    FakeFileSystem refusing;
    refusing.LoseDiskAt(fail_from);
    auto writer = IndexedDatasetWriter::Create(refusing, directory_.Path("p"),
                                               TokenType::kUint16);
    succeeded = writer.ok() && (*writer)->AddDocument({9, 8}).ok() &&
                (*writer)->AddDocument({7, 6, 5}).ok() &&
                (*writer)->Finish().ok();
    auto dataset =
        IndexedDataset::Open(PosixFileSystem(), directory_.Path("p"));
    if (!dataset.ok()) {
      EXPECT_FALSE(succeeded);
      EXPECT_EQ(dataset.status().code(), absl::StatusCode::kNotFound);
    } else if ((*dataset)->DocumentBegin(1) == 3) {
      EXPECT_THAT(ReadAll(**dataset), ElementsAre(1, 2, 3, 4, 5));
    } else {
      EXPECT_THAT(ReadAll(**dataset), ElementsAre(9, 8, 7, 6, 5));
    }
    ASSERT_LT(fail_from, 50);
  }
}

TEST(IndexedDatasetPrefix, IsTheNameWithoutTheEndings) {
  EXPECT_EQ(IndexedDatasetPrefix("a/b"), "a/b");
  EXPECT_EQ(IndexedDatasetPrefix("a/b.bin"), "a/b");
  EXPECT_EQ(IndexedDatasetPrefix("a/b.idx"), "a/b");
}

TEST(TokenTypeFor, IsMegatronsChoice) {
  EXPECT_EQ(TokenTypeFor(65499), TokenType::kUint16);
  EXPECT_EQ(TokenTypeFor(65500), TokenType::kInt32);
}

}  // namespace
}  // namespace moe
