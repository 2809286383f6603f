// What is held out of the training data, by either rule.
#include "data/corpus_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/data/corpus_fixture.h"

namespace moe {
namespace {

struct SplitCase {
  std::vector<size_t> lengths;  // of the documents
  double fraction;
  int64_t sequence_length;
  int bos_id;
};

std::string Name(const SplitCase& c) {
  return absl::StrCat(c.lengths.size(), " documents, first ", c.lengths[0],
                      ", last ", c.lengths.back(), ", fraction ", c.fraction,
                      ", L ", c.sequence_length, ", bos ", c.bos_id);
}

std::vector<int32_t> ReadAll(const TokenStream& stream) {
  std::vector<int32_t> tokens(static_cast<size_t>(stream.size()));
  EXPECT_TRUE(stream.Read(0, absl::MakeSpan(tokens)).ok());
  return tokens;
}

class CorpusSplitTest : public CorpusTest {
 protected:
  // That the share is met to within one sample of sequence_length + 1 tokens,
  // counted in tokens and in samples, and nothing is lost.
  void Expect(const SplitCase& c, const IndexedDataset& dataset) {
    SCOPED_TRACE(Name(c));
    const TokenStream all(dataset, 0, dataset.num_documents(), c.bos_id,
                          1 << 30);
    const int64_t length = c.sequence_length;
    const CorpusSplit split = SplitTokens(all, c.fraction, length);
    const auto size = static_cast<double>(all.size());
    EXPECT_LE(
        std::abs(static_cast<double>(split.valid.size()) - c.fraction * size),
        static_cast<double>(length + 1));
    const int64_t samples = (split.valid.size() - 1) / length;
    EXPECT_LE(std::abs(static_cast<double>(samples) -
                       c.fraction * (size - 1) / static_cast<double>(length)),
              1);
    EXPECT_GE(samples, 1);
    EXPECT_GT(split.train.size(), length);
    std::vector<int32_t> together = ReadAll(split.train);
    const std::vector<int32_t> valid = ReadAll(split.valid);
    EXPECT_EQ(split.inside_document, !split.valid.BeginsDocument(0));
    together.insert(together.end(), valid.begin(), valid.end());
    EXPECT_EQ(together, ReadAll(all));
  }
};

TEST_F(CorpusSplitTest, TheShareIsMetWhateverTheDocumentsAre) {
  const std::vector<std::vector<size_t>> shapes = {
      {4000},
      {2000, 2000},
      {200, 3800},                       // the last is nearly all
      {3990, 10},                        // the last is less than a sample
      {1, 1, 1, 3000, 1, 0, 0, 500, 0},  // unequal, some empty
      {0, 4000, 0},
      std::vector<size_t>(400, 10),
      std::vector<size_t>(3999, 1),
      std::vector<size_t>(33, 121)};
  for (const std::vector<size_t>& lengths : shapes) {
    const auto dataset =
        MakeDataset(directory_.Path("p"), CountingDocuments(lengths));
    for (const double fraction : {0.001, 0.01, 0.05, 0.3, 0.95}) {
      for (const int64_t length : {1, 7, 33, 64})
        for (const int bos_id : {-1, 1})
          Expect({lengths, fraction, length, bos_id}, *dataset);
    }
  }
}

// 100,000 tokens in documents of near 33,000, as a text is cut that has no form
// feed: 1 % is 1,000 tokens, not the last document.
TEST_F(CorpusSplitTest, FewDocumentsAreCutInside) {
  WriteDataset(directory_.Path("p"),
               CountingDocuments({33000, 33000, 33000, 1000}));
  WriteDataset(directory_.Path("q"), CountingDocuments({500, 500, 99000}));
  AddTrain(directory_.Path("p"));
  AddTrain(directory_.Path("q"));
  options_.vocab_size = 1 << 20;
  options_.config.set_valid_fraction(0.01);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  const absl::Span<const HeldOut> held_out = (*corpus)->held_out();
  ASSERT_EQ(held_out.size(), 2u);
  EXPECT_EQ(held_out[0].tokens, 143 * kLength + 1);  // 1,000 / 7, rounded
  EXPECT_EQ(held_out[0].all_tokens, 100000);
  EXPECT_TRUE(held_out[0].inside_document);
  EXPECT_EQ(held_out[1].tokens, held_out[0].tokens);
  EXPECT_TRUE(held_out[1].inside_document);
  EXPECT_EQ((*corpus)->valid()->samples_per_epoch(), 2 * 143);
}

TEST_F(CorpusSplitTest, ADocumentsBeginWithinHalfASampleIsWhereTheCutIs) {
  // 10 % of 200 tokens are 20, nearest to 3 samples of 7: 22 tokens.
  for (const auto& [last, held_out] : {std::pair<size_t, int64_t>{21, 22},
                                       {22, 22},
                                       {23, 23},
                                       {25, 25},
                                       {26, 22}}) {
    const auto dataset = MakeDataset(directory_.Path("p"),
                                     CountingDocuments({200 - last, last}));
    const TokenStream all(*dataset, 0, 2, /*bos_id=*/-1, 1 << 30);
    const CorpusSplit split = SplitTokens(all, 0.1, kLength);
    EXPECT_EQ(split.valid.size(), held_out) << last;
    EXPECT_EQ(split.inside_document, held_out != static_cast<int64_t>(last))
        << last;
  }
}

TEST_F(CorpusSplitTest, WhatIsTooShortToCutIsLeftWhole) {
  options_.config.set_valid_fraction(0.9);
  WriteDataset(directory_.Path("p"), CountingDocuments({15}));
  AddTrain(directory_.Path("p"));
  ExpectRefused(absl::StatusCode::kInvalidArgument,
                "p has 15 tokens, one sample for training and one to hold out "
                "need 16 (batch.sequence_length is 7)");
  WriteDataset(directory_.Path("q"), CountingDocuments({16}));
  AddTrain(directory_.Path("q"));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ((*corpus)->held_out()[0].tokens, 0);
  EXPECT_EQ((*corpus)->held_out()[0].all_tokens, 15);
  EXPECT_EQ((*corpus)->held_out()[1].tokens, 8);
  EXPECT_EQ((*corpus)->train().samples_per_epoch(), 3);
}

TEST_F(CorpusSplitTest, NothingIsHeldOutUnasked) {
  WriteDataset(directory_.Path("p"), CountingDocuments({100}));
  AddTrain(directory_.Path("p"));
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ((*corpus)->valid(), nullptr);
  EXPECT_TRUE((*corpus)->held_out().empty());
}

// The number in the message is the source's, not what a split leaves of it.
TEST_F(CorpusSplitTest, AMessageSaysHowManyTokensThereAre) {
  WriteDataset(directory_.Path("p"), CountingDocuments({3, 20000}));
  AddTrain(directory_.Path("p"));
  options_.vocab_size = 1 << 20;
  options_.config.set_valid_fraction(0.01);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ((*corpus)->valid()->samples_per_epoch(), 29);
  options_.sequence_length = 20003;
  ExpectRefused(absl::StatusCode::kFailedPrecondition,
                "p has 20003 tokens, one sample of batch.sequence_length "
                "(20003) needs 20004");
}

TEST_F(CorpusTest, ByDocumentsTheLastOnesAreHeldOut) {
  const Documents documents =
      CountingDocuments({20, 21, 22, 23, 24, 25, 26, 27, 28, 29});
  WriteDataset(directory_.Path("p"), documents);
  AddTrain(directory_.Path("p"));
  options_.split = SplitRule::kDocuments;
  for (const auto& [fraction, held_out] :
       {std::pair{1e-6, 1}, {0.1, 1}, {0.24, 2}, {0.5, 5}, {0.999, 9}}) {
    options_.config.set_valid_fraction(fraction);
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    const auto cut = documents.end() - held_out;
    EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
              Whole(Concatenate({documents.begin(), cut})));
    EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()),
              Whole(Concatenate({cut, documents.end()})));
    for (int64_t i = 0; i < (*corpus)->valid()->samples_per_epoch(); ++i) {
      EXPECT_EQ((*corpus)->valid()->SampleAt(i), i);
    }
  }
}

TEST_F(CorpusTest, ByDocumentsShortOnesAreHeldOutUntilTheyMakeASample) {
  const Documents documents = CountingDocuments({90, 3, 3, 3, 3});
  WriteDataset(directory_.Path("p"), documents);
  AddTrain(directory_.Path("p"));
  options_.split = SplitRule::kDocuments;
  options_.config.set_valid_fraction(0.01);
  auto corpus = PrepareAndOpen();
  ASSERT_TRUE(corpus.ok()) << corpus.status();
  EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()),
            Whole(Concatenate({documents.begin() + 2, documents.end()})));
}

TEST_F(CorpusTest, ByDocumentsOfASingleOneTheLastTokensAreHeldOut) {
  const std::vector<int32_t> tokens = CountingDocuments({100})[0];
  WriteDataset(directory_.Path("p"), {tokens});
  AddTrain(directory_.Path("p"));
  options_.split = SplitRule::kDocuments;
  for (const auto& [fraction, held_out] : {std::pair{0.01, 8}, {0.3, 30}}) {
    options_.config.set_valid_fraction(fraction);
    auto corpus = PrepareAndOpen();
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    const auto cut = tokens.end() - held_out;
    EXPECT_EQ(InputsInFileOrder((*corpus)->train()),
              Whole({tokens.begin(), cut}));
    EXPECT_EQ(InputsInFileOrder(*(*corpus)->valid()),
              Whole({cut, tokens.end()}));
  }
}

}  // namespace
}  // namespace moe
