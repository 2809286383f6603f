#include "data/packed_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <thread>
#include <vector>

#include "tests/data/dataset_builder.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

constexpr int kVocabSize = 1 << 20;
constexpr int kBos = 1;

class PackedSamplesTest : public testing::Test {
 protected:
  // Keeps the dataset alive for the test.
  TokenStream MakeStream(const Documents& documents, int bos_id = -1) {
    datasets_.push_back(MakeDataset(
        directory_.Path("p" + std::to_string(datasets_.size())), documents));
    return TokenStream(*datasets_.back(), 0,
                       static_cast<int64_t>(documents.size()), bos_id,
                       kVocabSize);
  }
  static std::vector<int32_t> ReadStream(const TokenStream& stream,
                                         int64_t first, int64_t count) {
    std::vector<int32_t> ids(static_cast<size_t>(count));
    EXPECT_TRUE(stream.Read(first, absl::MakeSpan(ids)).ok());
    return ids;
  }

  TemporaryDirectory directory_;
  std::vector<std::unique_ptr<IndexedDataset>> datasets_;
};

std::vector<int64_t> Order(const SampleSequence& sequence, int64_t first,
                           int64_t count) {
  std::vector<int64_t> samples;
  for (int64_t i = 0; i < count; ++i) {
    samples.push_back(sequence.SampleAt(first + i));
  }
  return samples;
}

std::vector<int64_t> Sorted(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

std::vector<int64_t> Iota(int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST_F(PackedSamplesTest, EveryStretchOfAStreamIsThatOfItsDocuments) {
  const Documents documents = CountingDocuments({3, 1, 0, 7, 33, 0, 2});
  for (const int bos_id : {-1, kBos}) {
    const TokenStream stream = MakeStream(documents, bos_id);
    const std::vector<int32_t> expected = Concatenate(documents, bos_id);
    ASSERT_EQ(stream.size(), static_cast<int64_t>(expected.size()));
    for (int64_t first = 0; first <= stream.size(); ++first) {
      for (int64_t count = 0; count <= stream.size() - first; ++count) {
        const std::vector<int32_t> part(expected.begin() + first,
                                        expected.begin() + first + count);
        ASSERT_EQ(ReadStream(stream, first, count), part);
        ASSERT_EQ(ReadStream(stream.Slice(first, count), 0, count), part);
      }
    }
  }
}

TEST_F(PackedSamplesTest, AStreamMayBePartOfTheDocuments) {
  const Documents documents = CountingDocuments({3, 1, 5, 7, 4});
  MakeStream(documents);
  const TokenStream stream(*datasets_.back(), 1, 4, kBos, kVocabSize);
  const std::vector<int32_t> expected =
      Concatenate({documents[1], documents[2], documents[3]}, kBos);
  EXPECT_EQ(ReadStream(stream, 0, stream.size()), expected);
}

TEST_F(PackedSamplesTest, SampleIIsTokensFromILToILPlusL) {
  const Documents documents = CountingDocuments({3, 1, 0, 7, 33, 0, 2, 90});
  for (const int bos_id : {-1, kBos}) {
    for (const int64_t length : {1, 7, 33, 64}) {
      const std::vector<int32_t> all = Concatenate(documents, bos_id);
      const PackedSamples samples(MakeStream(documents, bos_id), length);
      const int64_t count = (static_cast<int64_t>(all.size()) - 1) / length;
      ASSERT_EQ(samples.num_samples(), count);
      std::vector<int32_t> inputs(static_cast<size_t>(length));
      std::vector<int32_t> targets(inputs.size());
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_TRUE(
            samples.Read(i, absl::MakeSpan(inputs), absl::MakeSpan(targets), {})
                .ok());
        const auto begin = all.begin() + i * length;
        EXPECT_EQ(inputs, std::vector<int32_t>(begin, begin + length));
        EXPECT_EQ(targets, std::vector<int32_t>(begin + 1, begin + length + 1));
      }
    }
  }
}

TEST_F(PackedSamplesTest, TheLastTargetMayBeTheLastToken) {
  const auto count = [&](size_t tokens) {
    return PackedSamples(MakeStream(CountingDocuments({tokens})), 5)
        .num_samples();
  };
  EXPECT_EQ(count(0), 0);
  EXPECT_EQ(count(5), 0);
  EXPECT_EQ(count(6), 1);
  EXPECT_EQ(count(10), 1);
  EXPECT_EQ(count(11), 2);
}

TEST_F(PackedSamplesTest, EveryPassHasEachSampleOnceInAnotherOrder) {
  for (const size_t tokens : {8, 15, 232, 7001}) {  // 1, 2, 33, 1000 samples
    const PackedSamples samples(MakeStream(CountingDocuments({tokens})), 7);
    auto sequence = ShuffledBlend({samples}, {1.0}, /*seed=*/3);
    ASSERT_TRUE(sequence.ok()) << sequence.status();
    const int64_t size = (*sequence)->samples_per_epoch();
    ASSERT_EQ(size, (static_cast<int64_t>(tokens) - 1) / 7);
    for (int64_t epoch = 0; epoch < 4; ++epoch) {
      EXPECT_EQ(Sorted(Order(**sequence, epoch * size, size)), Iota(size));
    }
    if (size < 30) continue;
    EXPECT_NE(Order(**sequence, 0, size), Iota(size));
    EXPECT_NE(Order(**sequence, 0, size), Order(**sequence, size, size));
  }
}

TEST_F(PackedSamplesTest, TheSeedDecidesTheOrder) {
  const PackedSamples samples(MakeStream(CountingDocuments({701})), 7);
  const auto order = [&](uint64_t seed) {
    return Order(**ShuffledBlend({samples}, {1.0}, seed), 0, 250);
  };
  EXPECT_EQ(order(3), order(3));
  EXPECT_NE(order(3), order(4));
  EXPECT_NE(order(3), order(uint64_t{3} << 40));
}

TEST_F(PackedSamplesTest, ABlendHasEachSampleOnceInEachPassOfItsSource) {
  const PackedSamples small(MakeStream(CountingDocuments({36})), 7);   // 5
  const PackedSamples large(MakeStream(CountingDocuments({148})), 7);  // 21
  auto sequence = ShuffledBlend({small, large}, {0.25, 0.75}, 9);
  ASSERT_TRUE(sequence.ok()) << sequence.status();
  EXPECT_EQ((*sequence)->samples_per_epoch(), 26);
  std::vector<int64_t> first;
  std::vector<int64_t> second;
  for (const int64_t sample : Order(**sequence, 0, 420)) {
    (sample < 5 ? first : second).push_back(sample);
  }
  ASSERT_EQ(first.size(), 105u);  // a quarter: 21 passes
  ASSERT_EQ(second.size(), 315u);
  for (int64_t pass = 0; pass < 21; ++pass) {
    const auto begin = first.begin() + 5 * pass;
    EXPECT_EQ(Sorted({begin, begin + 5}), Iota(5));
  }
  for (int64_t pass = 0; pass < 15; ++pass) {
    const auto begin = second.begin() + 21 * pass;
    std::vector<int64_t> samples = Sorted({begin, begin + 21});
    for (int64_t& sample : samples) sample -= 5;
    EXPECT_EQ(samples, Iota(21));
  }
}

TEST_F(PackedSamplesTest, EqualSourcesAreShuffledDifferently) {
  const PackedSamples samples(MakeStream(CountingDocuments({701})), 7);
  auto sequence = ShuffledBlend({samples, samples}, {1.0, 1.0}, 9);
  std::vector<int64_t> first;
  std::vector<int64_t> second;
  for (const int64_t sample : Order(**sequence, 0, 200)) {
    if (sample < 100) {
      first.push_back(sample);
    } else {
      second.push_back(sample - 100);
    }
  }
  EXPECT_EQ(Sorted(first), Sorted(second));
  EXPECT_NE(first, second);
}

TEST_F(PackedSamplesTest, AGlobalIndexNamesTheTokensThatAreRead) {
  const PackedSamples a(MakeStream(CountingDocuments({36}, 0)), 7);
  const PackedSamples b(MakeStream(CountingDocuments({71}, 1000)), 7);
  auto sequence = ShuffledBlend({a, b}, {1.0, 2.0}, 5);
  std::vector<int32_t> inputs(7);
  std::vector<int32_t> targets(7);
  for (int64_t position = 0; position < 60; ++position) {
    ASSERT_TRUE((*sequence)
                    ->Read(position, absl::MakeSpan(inputs),
                           absl::MakeSpan(targets), {})
                    .ok());
    const int64_t sample = (*sequence)->SampleAt(position);
    const int64_t first = sample < 5 ? 7 * sample : 1000 + 7 * (sample - 5);
    EXPECT_EQ(inputs[0], first);
    EXPECT_EQ(targets[6], first + 7);
  }
}

// A position is all that there is to resume from: another object, asked from
// the middle, by several threads in any order, gives the same.
TEST_F(PackedSamplesTest, AnyPositionIsReadAlone) {
  const PackedSamples a(MakeStream(CountingDocuments({360}, 0)), 3);
  const PackedSamples b(MakeStream(CountingDocuments({71}, 1000)), 3);
  const auto read = [](const SampleSequence& sequence, int64_t position) {
    std::vector<int32_t> inputs(3);
    std::vector<int32_t> targets(3);
    EXPECT_TRUE(
        sequence
            .Read(position, absl::MakeSpan(inputs), absl::MakeSpan(targets), {})
            .ok());
    return inputs;
  };
  auto sequence = ShuffledBlend({a, b}, {1.0, 2.0}, 5);
  std::vector<std::vector<int32_t>> forwards;
  for (int64_t i = 0; i < 1000; ++i) forwards.push_back(read(**sequence, i));
  auto resumed = ShuffledBlend({a, b}, {1.0, 2.0}, 5);
  std::vector<std::vector<int32_t>> backwards(1000);
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      for (int64_t i = 999 - rank; i >= 0; i -= 3) {
        backwards[static_cast<size_t>(i)] = read(**resumed, i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(backwards, forwards);
}

TEST_F(PackedSamplesTest, FileOrderGoesThroughOneSourceAfterAnother) {
  const PackedSamples a(MakeStream(CountingDocuments({15}, 0)), 7);
  const PackedSamples b(MakeStream(CountingDocuments({22}, 1000)), 7);
  const std::unique_ptr<SampleSequence> sequence = FileOrder({a, b});
  ASSERT_EQ(sequence->samples_per_epoch(), 5);
  std::vector<int32_t> firsts;
  for (int64_t position = 0; position < 6; ++position) {
    std::vector<int32_t> inputs(7);
    std::vector<int32_t> targets(7);
    ASSERT_TRUE(sequence
                    ->Read(position, absl::MakeSpan(inputs),
                           absl::MakeSpan(targets), {})
                    .ok());
    firsts.push_back(inputs[0]);
  }
  EXPECT_THAT(firsts, testing::ElementsAre(0, 7, 1000, 1007, 1014, 0));
}

TEST_F(PackedSamplesTest, AnIdBeyondTheVocabularyStopsTheRead) {
  for (const int bos_id : {-1, kBos}) {
    const TokenStream good =
        MakeStream({{1, 2, 3}, {4, kVocabSize, 6}}, bos_id);
    const PackedSamples samples(good, 4);
    std::vector<int32_t> inputs(4);
    std::vector<int32_t> targets(4);
    const absl::Status status =
        samples.Read(0, absl::MakeSpan(inputs), absl::MakeSpan(targets), {});
    if (bos_id >= 0) {  // it lies behind the first sample then
      EXPECT_TRUE(status.ok()) << status;
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("token 1 of document 1 is 1048576"));
    }
  }
}

}  // namespace
}  // namespace moe
