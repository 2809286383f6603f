// Where attention begins anew, and which tokens are nobody's target.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_samples.h"
#include "data/token_stream.h"
#include "tests/data/dataset_builder.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

constexpr int kVocabSize = 1 << 20;
constexpr int kBos = 1;

class DocumentPositionsTest : public testing::Test {
 protected:
  // Keeps the dataset alive for the test.
  TokenStream MakeStream(const Documents& documents, int bos_id = -1) {
    datasets_.push_back(MakeDataset(
        directory_.Path("p" + std::to_string(datasets_.size())), documents));
    return TokenStream(*datasets_.back(), 0,
                       static_cast<int64_t>(documents.size()), bos_id,
                       kVocabSize);
  }

  TemporaryDirectory directory_;
  std::vector<std::unique_ptr<IndexedDataset>> datasets_;
};

// What each token of a stream is, written down while the stream is put
// together: how many of its document's stand before it.
std::vector<int32_t> PlacesInDocuments(const Documents& documents, int bos_id) {
  std::vector<int32_t> places;
  for (const std::vector<int32_t>& document : documents) {
    const int32_t size =
        static_cast<int32_t>(document.size()) + (bos_id >= 0 ? 1 : 0);
    for (int32_t i = 0; i < size; ++i) places.push_back(i);
  }
  return places;
}

// Empty documents first, between, in a row and last; of one token alone and in
// a row; longer than any sample.
TEST_F(DocumentPositionsTest, DocumentsStandApartWhereTheIndexSaysTheyBegin) {
  const Documents documents =
      CountingDocuments({0, 3, 1, 1, 0, 0, 7, 33, 0, 2, 1, 90, 5, 1, 0, 6, 0});
  for (const int bos_id : {-1, kBos}) {
    const std::vector<int32_t> all = Concatenate(documents, bos_id);
    const std::vector<int32_t> places = PlacesInDocuments(documents, bos_id);
    for (const int64_t length : {1, 2, 3, 7, 33, 64}) {
      const PackedSamples samples(MakeStream(documents, bos_id), length);
      std::vector<int32_t> inputs(static_cast<size_t>(length));
      std::vector<int32_t> targets(inputs.size());
      std::vector<int32_t> positions(inputs.size());
      for (int64_t i = 0; i < samples.num_samples(); ++i) {
        ASSERT_TRUE(samples
                        .Read(i, absl::MakeSpan(inputs),
                              absl::MakeSpan(targets),
                              absl::MakeSpan(positions))
                        .ok());
        for (int64_t t = 0; t < length; ++t) {
          SCOPED_TRACE(testing::Message()
                       << "L " << length << ", sample " << i << ", token " << t
                       << ", <s> " << bos_id);
          const size_t at = static_cast<size_t>(t);
          const size_t in_stream = static_cast<size_t>(i * length + t);
          EXPECT_EQ(inputs[at], all[in_stream]);
          EXPECT_EQ(positions[at], std::min<int64_t>(t, places[in_stream]));
          EXPECT_EQ(targets[at],
                    places[in_stream + 1] == 0 ? -1 : all[in_stream + 1]);
        }
      }
    }
  }
}

TEST_F(DocumentPositionsTest, DocumentsOfASliceOrARangeStandApartToo) {
  const Documents documents = CountingDocuments({3, 1, 0, 5, 7, 4});
  MakeStream(documents);
  const TokenStream range(*datasets_.back(), 1, 5, kBos, kVocabSize);
  const TokenStream slice = range.Slice(4, 12);  // cuts a document, and ends in
  std::vector<int32_t> positions(12);            // another one
  slice.Positions(0, absl::MakeSpan(positions));
  EXPECT_THAT(positions,
              testing::ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6));
  EXPECT_FALSE(slice.BeginsDocument(0));
  EXPECT_TRUE(slice.BeginsDocument(5));
  EXPECT_FALSE(slice.BeginsDocument(6));
  slice.Positions(12, {});  // none at the end
}

// Each source's documents, whatever the order of its samples.
TEST_F(DocumentPositionsTest, ASequenceReadsThePositionsOfItsSources) {
  const PackedSamples a(MakeStream(CountingDocuments({4, 32}, 0)), 7);
  const PackedSamples b(MakeStream(CountingDocuments({2, 69}, 1000)), 7);
  auto blend = ShuffledBlend({a, b}, {1.0, 2.0}, 5);
  const std::unique_ptr<SampleSequence> file_order = FileOrder({a, b});
  for (const SampleSequence* sequence : {blend->get(), file_order.get()}) {
    std::vector<int32_t> inputs(7);
    std::vector<int32_t> targets(7);
    std::vector<int32_t> positions(7);
    for (int64_t position = 0; position < 30; ++position) {
      ASSERT_TRUE(sequence
                      ->Read(position, absl::MakeSpan(inputs),
                             absl::MakeSpan(targets), absl::MakeSpan(positions))
                      .ok());
      if (inputs[0] == 0) {
        EXPECT_THAT(positions, testing::ElementsAre(0, 1, 2, 3, 0, 1, 2));
        EXPECT_THAT(targets, testing::ElementsAre(1, 2, 3, -1, 5, 6, 7));
      } else if (inputs[0] == 1000) {
        EXPECT_THAT(positions, testing::ElementsAre(0, 1, 0, 1, 2, 3, 4));
        EXPECT_EQ(targets[1], -1);
      } else {
        EXPECT_THAT(positions, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
        EXPECT_THAT(targets, testing::Each(testing::Gt(0)));
      }
    }
  }
}

}  // namespace
}  // namespace moe
