// What a corpus refuses to be made of, and what it says then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "data/corpus.h"
#include "tests/data/corpus_fixture.h"

namespace moe {
namespace {

TEST_F(CorpusTest, WhatIsNotThereIsNamed) {
  AddTrain(directory_.Path("none"));
  ExpectRefused(absl::StatusCode::kNotFound, directory_.Path("none.idx"));
  options_.config.clear_train();
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  AddValid(directory_.Path("v.txt"));
  ExpectRefused(absl::StatusCode::kNotFound,
                "data.valid: there is no file " + directory_.Path("v.txt"));
  options_.config.clear_valid();
  options_.config.set_tokenizer(directory_.Path("x.model"));
  ExpectRefused(absl::StatusCode::kNotFound,
                "data.tokenizer: there is no file");
}

TEST_F(CorpusTest, AFileThatIsNeitherTextNorTokensIsRefused) {
  AddTrain(directory_.Write("a.pdf", "x"));
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "a.pdf is neither .txt nor .jsonl");
}

TEST_F(CorpusTest, TextThatIsNoneIsRefusedBeforeAnythingIsMade) {
  AddTrain(directory_.Write("a.txt", ""));
  ExpectRefused(absl::StatusCode::kFailedPrecondition,
                "data.train: " + directory_.Path("a.txt") + " is empty");
  EXPECT_FALSE(std::filesystem::exists(options_.cache_directory));
}

TEST_F(CorpusTest, NoSourceAndAPathlessSourceAreRefused) {
  ExpectRefused(absl::StatusCode::kInvalidArgument, "data.train is empty");
  AddTrain("");
  ExpectRefused(absl::StatusCode::kInvalidArgument, "a source has no path");
}

TEST_F(CorpusTest, TextBesideTokensNeedsTheirTokenizer) {
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  ExpectRefused(absl::StatusCode::kInvalidArgument, "data.tokenizer is empty");
  UseTokenizer();
  EXPECT_TRUE(PrepareAndOpen().ok());
}

TEST_F(CorpusTest, ATokenizerLargerThanTheModelIsRefused) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  options_.vocab_size = tokenizer_->vocab_size();
  EXPECT_TRUE(PrepareAndOpen().ok());
  --options_.vocab_size;
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                absl::StrCat("model.vocab_size is ", options_.vocab_size,
                             ", must be at least the ", options_.vocab_size + 1,
                             " pieces of"));
}

// Its ids would mean something else than those that weights were trained with.
TEST_F(CorpusTest, ATokenizerOtherThanThatOfTheWeightsIsRefusedForText) {
  UseTokenizer();
  std::filesystem::create_directory(directory_.Path("weights"));
  options_.vocabulary_from = directory_.Path("weights");
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  EXPECT_TRUE(PrepareAndOpen().ok()) << "they have none";
  directory_.Write("weights/tokenizer.model", directory_.Read("t.model"));
  EXPECT_TRUE(PrepareAndOpen().ok()) << "the same";
  const std::string other = directory_.Write(
      "weights/tokenizer.model", ModelBuilder().Bytes().Serialize());
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "data.tokenizer is " + directory_.Path("t.model"));
  ExpectRefused(absl::StatusCode::kInvalidArgument, "that of " + other);
  options_.config.clear_tokenizer();
  EXPECT_TRUE(PrepareAndOpen().ok()) << "theirs";
  // Who has made tokens with it has said that it is meant.
  options_.config.set_tokenizer(directory_.Path("t.model"));
  options_.config.clear_train();
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  EXPECT_TRUE(PrepareAndOpen().ok());
}

TEST_F(CorpusTest, ALearnedVocabularyShrinksOnlyWhereNobodyAskedForItsSize) {
  AddTrain(directory_.Write("a.txt", GeneratedText(3000, 1)));
  options_.vocab_size = 5000;
  const std::string refusal = "model.vocab_size is 5000, must be at most ";
  ExpectRefused(absl::StatusCode::kInvalidArgument, refusal);
  EXPECT_EQ(PreviewVocabulary(options_).status().code(),
            absl::StatusCode::kInvalidArgument);

  options_.vocab_size_may_shrink = true;
  const auto preview = PreviewVocabulary(options_);
  ASSERT_TRUE(preview.ok()) << preview.status();
  EXPECT_LT(*preview, 5000);
  EXPECT_GT(*preview, 259);
  const auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ((*corpus)->tokenizer()->vocab_size(), *preview);
  EXPECT_EQ(*PreviewVocabulary(options_), *preview) << "of the cache";

  // What was learned so is not what somebody asks for.
  options_.vocab_size_may_shrink = false;
  ExpectRefused(absl::StatusCode::kInvalidArgument, refusal);
  options_.vocab_size = *preview;
  EXPECT_TRUE(PrepareAndOpen().ok());
}

TEST_F(CorpusTest, BosWithoutATokenizerIsRefused) {
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"));
  options_.config.set_add_bos(true);
  ExpectRefused(absl::StatusCode::kInvalidArgument, "data.add_bos is true");
}

TEST_F(CorpusTest, LessThanOneSampleIsRefusedWithBothNumbers) {
  WriteDataset(directory_.Path("p"), CountingDocuments({7}));
  WriteDataset(directory_.Path("q"), CountingDocuments({8}));
  AddTrain(directory_.Path("p"));
  ExpectRefused(absl::StatusCode::kFailedPrecondition,
                "p has 7 tokens, one sample of batch.sequence_length (7) "
                "needs 8");
  options_.config.clear_train();
  AddTrain(directory_.Path("q"));
  EXPECT_TRUE(PrepareAndOpen().ok());
  AddValid(directory_.Path("p"));
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "data.valid: ");
  options_.config.clear_valid();
  options_.config.set_valid_fraction(0.01);
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "data.valid_fraction is 0.01");
}

TEST_F(CorpusTest, ValuesOutOfRangeAreRefused) {
  WriteDataset(directory_.Path("p"), CountingDocuments({30}));
  AddTrain(directory_.Path("p"), 0);
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "data.train: weight of source 0 is 0");
  options_.config.mutable_train()->mutable_source(0)->set_weight(1);
  for (const double fraction : {-0.1, 1.0, 7.0}) {
    options_.config.set_valid_fraction(fraction);
    ExpectRefused(absl::StatusCode::kInvalidArgument,
                  absl::StrCat("data.valid_fraction is ", fraction));
  }
  options_.config.set_valid_fraction(0);
  options_.sequence_length = 0;
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "batch.sequence_length is 0");
}

TEST_F(CorpusTest, ACacheThatCannotBeWrittenIsAborted) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", "the cat and the owl"));
  options_.cache_directory = directory_.Path("a.txt/data");
  ExpectRefused(absl::StatusCode::kAborted, "a.txt/data");
}

}  // namespace
}  // namespace moe
