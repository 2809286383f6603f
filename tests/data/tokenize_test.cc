#include "data/tokenize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "data/indexed_dataset.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/generated_text.h"
#include "tests/data/model_builder.h"
#include "tests/data/temporary_directory.h"
#include "tests/fake_file_system.h"
#include "tests/no_threads.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void NoProgress(int64_t, int64_t) {}

class TokenizeTest : public testing::Test {
 protected:
  TokenizeTest()
      : tokenizer_(*ModelBuilder().Bytes().Add({"th", "the", "an"}).Load()) {}

  absl::StatusOr<TokenizeResult> Tokenize(
      const std::vector<std::string>& inputs, const std::string& output,
      int threads = 2, FileSystem& files = PosixFileSystem()) {
    return TokenizeFiles(files,
                         {.inputs = inputs,
                          .tokenizer = tokenizer_.get(),
                          .output_prefix = directory_.Path(output),
                          .threads = threads},
                         NoProgress);
  }
  std::vector<int32_t> Encode(absl::string_view text) const {
    std::vector<int32_t> ids;
    tokenizer_->Encode(text, ids);
    ids.push_back(tokenizer_->eos_id());
    return ids;
  }
  Documents ReadDocuments(const std::string& prefix) const {
    auto dataset =
        IndexedDataset::Open(PosixFileSystem(), directory_.Path(prefix));
    EXPECT_TRUE(dataset.ok()) << dataset.status();
    Documents documents;
    for (int64_t i = 0; i < (*dataset)->num_documents(); ++i) {
      const int64_t begin = (*dataset)->DocumentBegin(i);
      documents.emplace_back((*dataset)->DocumentBegin(i + 1) - begin);
      EXPECT_TRUE((*dataset)
                      ->Read(begin, 1 << 20, absl::MakeSpan(documents.back()))
                      .ok());
    }
    return documents;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TokenizeTest, WhereNoThreadCanBeStartedItSaysSo) {
  const std::string input = directory_.Write("a.txt", "the cat");
  const NoThreads none;
  const absl::Status status = Tokenize({input}, "a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cannot start the thread encoder"));
}

TEST_F(TokenizeTest, DocumentsAreEncodedAndEndWithEos) {
  const std::string txt = directory_.Write("a.txt", "the cat\fan owl\n\f");
  const std::string jsonl =
      directory_.Write("b.jsonl",
                       "{\"text\": \"th\"}\n\n{\"id\": 1, \"text\": \"\"}\n"
                       "{\"text\": \"\\u00e9\"}\n");
  auto result = Tokenize({txt, jsonl}, "out");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(ReadDocuments("out"),
              ElementsAre(Encode("the cat"), Encode("an owl\n"), Encode("th"),
                          Encode("\xC3\xA9")));
  EXPECT_EQ(result->documents, 4);
  EXPECT_EQ(result->text_bytes, 7 + 7 + 2 + 2);
  EXPECT_EQ(result->tokens,
            static_cast<int64_t>(Concatenate(ReadDocuments("out")).size()));
}

// Text of an old encoding, as tokens of U+FFFD, is told of; JSON is refused.
TEST_F(TokenizeTest, BytesThatAreNoUtf8AreCountedOverTheWholeFile) {
  std::string latin1;
  while (latin1.size() < 700000) latin1 += "the an th\n";
  const auto good = Tokenize({directory_.Write("good.txt", latin1)}, "out");
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(good->ill_formed, testing::IsEmpty());
  for (const size_t at : {100001u, 300000u, 300001u, 699999u})
    latin1[at] = '\xE9';
  const std::string bom = directory_.Write("bom.txt",
                                           "\xEF\xBB\xBF"
                                           "a\xE9");
  const auto result = Tokenize(
      {directory_.Write("bad.txt", latin1), directory_.Path("good.txt"), bom},
      "out");
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->ill_formed.size(), 2u);
  EXPECT_EQ(result->ill_formed[0].path, directory_.Path("bad.txt"));
  EXPECT_EQ(result->ill_formed[0].num_bytes, 4);
  EXPECT_EQ(result->ill_formed[0].first_offset, 100001);
  EXPECT_EQ(result->ill_formed[1].path, bom);
  EXPECT_EQ(result->ill_formed[1].first_offset, 4);
}

TEST_F(TokenizeTest, TheFilesDoNotDependOnTheNumberOfThreads) {
  const std::string one =
      directory_.Write("one.txt", GeneratedText(1 << 20, 7));
  std::string lines;
  for (const absl::string_view line :
       absl::StrSplit(GeneratedText(300000, 8), '\n')) {
    absl::StrAppend(&lines, line, "\f");
  }
  const std::string many = directory_.Write("many.txt", lines);
  auto first = Tokenize({one, many}, "1", 1);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_GT(first->documents, 100);
  for (const int threads : {2, 3, 8}) {
    const std::string name = absl::StrCat(threads);
    ASSERT_TRUE(Tokenize({one, many}, name, threads).ok());
    EXPECT_TRUE(directory_.Read(name + ".bin") == directory_.Read("1.bin"));
    EXPECT_TRUE(directory_.Read(name + ".idx") == directory_.Read("1.idx"));
  }
}

TEST_F(TokenizeTest, ProgressRisesToTheTotal) {
  const std::string a = directory_.Write("a.txt", GeneratedText(1 << 20, 1));
  const std::string b = directory_.Write("b.txt", GeneratedText(100000, 2));
  std::vector<int64_t> steps;
  int64_t all = 0;
  ASSERT_TRUE(TokenizeFiles(PosixFileSystem(),
                            {.inputs = {a, b},
                             .tokenizer = tokenizer_.get(),
                             .output_prefix = directory_.Path("out"),
                             .threads = 2},
                            [&](int64_t done, int64_t total) {
                              steps.push_back(done);
                              all = total;
                            })
                  .ok());
  EXPECT_EQ(all, static_cast<int64_t>(directory_.Read("a.txt").size() +
                                      directory_.Read("b.txt").size()));
  EXPECT_GT(steps.size(), 4u);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
  EXPECT_EQ(steps.back(), all);
}

TEST_F(TokenizeTest, ABrokenLineIsNamedAndTheOldPairStays) {
  ASSERT_TRUE(Tokenize({directory_.Write("old.txt", "the")}, "out").ok());
  std::string lines;
  for (int i = 0; i < 40000; ++i)
    absl::StrAppend(&lines, "{\"text\": \"an\"}\n");
  const std::string path =
      directory_.Write("new.jsonl", lines + "{\"text\": 5}\n" + lines);
  const absl::Status status = Tokenize({path}, "out").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("new.jsonl"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("40001"));
  EXPECT_THAT(ReadDocuments("out"), ElementsAre(Encode("the")));
  EXPECT_THAT(
      *PosixFileSystem().List(directory_.path()),
      ElementsAre("new.jsonl", "old.txt", "out.bin", "out.digest", "out.idx"));
}

TEST_F(TokenizeTest, TextWithoutDocumentsIsRefused) {
  const std::string path = directory_.Write("a.jsonl", "{\"text\": \"\"}\n");
  const absl::Status status = Tokenize({path}, "out").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("a.jsonl"));
}

TEST_F(TokenizeTest, AMissingInputIsNotFoundBeforeAnythingIsWritten) {
  FakeFileSystem recorder;
  const absl::Status status =
      Tokenize({directory_.Write("a.txt", "x"), directory_.Path("none.txt")},
               "out", 2, recorder)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(recorder.log(), testing::IsEmpty());
}

TEST_F(TokenizeTest, ADiskThatRefusesIsAborted) {
  const std::string path = directory_.Write("a.txt", "the cat");
  for (int fail_from = 1; fail_from <= 8; ++fail_from) {
    FakeFileSystem refusing;
    refusing.LoseDiskAt(fail_from);
    EXPECT_EQ(Tokenize({path}, "out", 2, refusing).status().code(),
              absl::StatusCode::kAborted)
        << fail_from;
  }
}

}  // namespace
}  // namespace moe
