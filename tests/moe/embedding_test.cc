#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: T tokens, V pieces of a slice, D model width.

namespace moe {
namespace {

class EmbeddingKernel : public KernelTest {};

TEST_P(EmbeddingKernel, ForwardLooksUpRows) {
  for (int64_t D : {1, 7, 33, 128}) {
    const TestTensor w = RandomTensor({5, D}, GetParam(), 1);
    const TestTensor ids = IndexTensor({6}, {4, 0, 0, 3, 4, 1});
    TestTensor x({6, D}, DType::kFloat32);
    context().EmbeddingForward(x, ids, w, /*first_id=*/0);
    for (int64_t i = 0; i < 6 * D; ++i) {
      const auto id = static_cast<int64_t>(ids.Get(i / D));
      EXPECT_EQ(x.Get(i), w.Get(id * D + i % D));
    }
  }
}

TEST_P(EmbeddingKernel, PiecesOfAnotherSliceAreZero) {
  const TestTensor w = RandomTensor({2, 9}, GetParam(), 1);
  const TestTensor ids = IndexTensor({4}, {2, 4, 3, 1});
  TestTensor x({4, 9}, DType::kFloat32);
  x.Fill(7);  // overwritten
  context().EmbeddingForward(x, ids, w, /*first_id=*/2);
  for (int64_t i = 0; i < 9; ++i) {
    EXPECT_EQ(x.Get(i), w.Get(i));
    EXPECT_EQ(x.Get(9 + i), 0);
    EXPECT_EQ(x.Get(18 + i), w.Get(9 + i));
    EXPECT_EQ(x.Get(27 + i), 0);
  }
}

INSTANTIATE_BOTH_DTYPES(EmbeddingKernel);

TEST(EmbeddingBackward, AddsEveryTokenToItsRow) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  for (int64_t D : {1, 7, 33, 200}) {
    TestTensor d_w = RandomTensor({5, D}, DType::kFloat32, 1);
    const TestTensor d_x = RandomTensor({7, D}, DType::kFloat32, 2);
    const TestTensor ids = IndexTensor({7}, {4, 0, 0, 3, 4, 1, 4});
    std::vector<double> expected = d_w.Values();
    for (int64_t i = 0; i < 7 * D; ++i) {
      const auto id = static_cast<int64_t>(ids.Get(i / D));
      expected[static_cast<size_t>(id * D + i % D)] += d_x.Get(i);
    }
    context->EmbeddingBackward(d_w, d_x, ids, /*first_id=*/0);
    ExpectRounded(d_w, expected, "d_w");
  }
}

TEST(EmbeddingBackward, SlicesTogetherAreTheWhole) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  const TestTensor d_x = RandomTensor({7, 5}, DType::kFloat32, 2);
  const TestTensor ids = IndexTensor({7}, {4, 0, 0, 3, 4, 1, 4});
  TestTensor whole({5, 5}, DType::kFloat32);
  TestTensor low({2, 5}, DType::kFloat32), high({3, 5}, DType::kFloat32);
  context->EmbeddingBackward(whole, d_x, ids, /*first_id=*/0);
  context->EmbeddingBackward(low, d_x, ids, /*first_id=*/0);
  context->EmbeddingBackward(high, d_x, ids, /*first_id=*/2);
  std::vector<double> together = low.Values();
  const std::vector<double> rest = high.Values();
  together.insert(together.end(), rest.begin(), rest.end());
  EXPECT_EQ(together, whole.Values());
}

TEST(EmbeddingBackward, ThreadsDoNotChangeABit) {
  constexpr int64_t kTokens = 500, kD = 150;
  const TestTensor d_x = RandomTensor({kTokens, kD}, DType::kFloat32, 1);
  TestTensor ids({kTokens}, DType::kInt32);
  for (int64_t t = 0; t < kTokens; ++t)
    ids.Set(t, static_cast<double>(t * t % 3));
  TestTensor one({3, kD}, DType::kFloat32), four({3, kD}, DType::kFloat32);
  MakeCpuKernels(1)->EmbeddingBackward(one, d_x, ids, 0);
  MakeCpuKernels(4)->EmbeddingBackward(four, d_x, ids, 0);
  EXPECT_EQ(one.Values(), four.Values());
}

TEST(EmbeddingBackward, NoTokensAddNothing) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  TestTensor w({3, 2}, DType::kFloat32), none({0, 2}, DType::kFloat32);
  const TestTensor ids = IndexTensor({0}, {});
  w.Fill(4);
  context->EmbeddingForward(none, ids, w, 0);
  context->EmbeddingBackward(w, none, ids, 0);
  EXPECT_EQ(w.Values(), std::vector<double>(6, 4.0));
}

}  // namespace
}  // namespace moe
