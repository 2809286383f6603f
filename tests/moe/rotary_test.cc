#include <cmath>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: L length, T tokens, C = (H + 2 G) d elements of a row, h = d / 2.

namespace moe {
namespace {

constexpr double kTheta = 10000;
const Tensor kNone;  // positions are those in the sequence

TestTensor MakeTable(const AttentionShape& shape) {
  TestTensor table({shape.length, 2, shape.head_dim / 2}, DType::kFloat32);
  RotaryTable(absl::MakeSpan(table.view().data<float>(),
                             static_cast<size_t>(table.size())),
              shape.head_dim / 2, kTheta);
  return table;
}

// Each pair (i, i + h) of a query or key head as one complex number.
std::vector<double> Reference(std::vector<double> qkv,
                              const std::vector<int32_t>& positions,
                              const AttentionShape& shape) {
  const int64_t T = static_cast<int64_t>(positions.size());
  const int64_t d = shape.head_dim;
  const int64_t C = (shape.heads + 2 * shape.kv_heads) * d;
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
      for (int64_t i = 0; i < d / 2; ++i) {
        const double angle = positions[static_cast<size_t>(t)] *
                             std::pow(kTheta, -2.0 * static_cast<double>(i) /
                                                  static_cast<double>(d));
        double& a = qkv[static_cast<size_t>(t * C + head * d + i)];
        double& b = qkv[static_cast<size_t>(t * C + head * d + i + d / 2)];
        const double old_a = a;
        a = old_a * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + old_a * std::sin(angle);
      }
    }
  }
  return qkv;
}

class RotaryKernel : public KernelTest {};

std::vector<int32_t> PlacesInSequences(int64_t T, int64_t length) {
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < T; ++t)
    positions.push_back(static_cast<int32_t>(t % length));
  return positions;
}

TEST_P(RotaryKernel, RotatesQueriesAndKeysByTheirPosition) {
  for (const AttentionShape& shape :
       {AttentionShape{1, 1, 1, 2}, AttentionShape{7, 3, 1, 6},
        AttentionShape{33, 4, 2, 64}, AttentionShape{5, 2, 2, 34}}) {
    const int64_t T = 3 * shape.length;
    const int64_t C = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    TestTensor qkv = RandomTensor({T, C}, GetParam(), 3);
    const std::vector<double> expected =
        Reference(qkv.Values(), PlacesInSequences(T, shape.length), shape);
    context().Rotary(qkv, MakeTable(shape), kNone, shape, /*inverse=*/false);
    ExpectRounded(qkv, expected, "d = " + std::to_string(shape.head_dim));
  }
}

TEST_P(RotaryKernel, PositionsMayBeginAnewInsideASequence) {
  const AttentionShape shape{7, 3, 1, 6};
  std::vector<int32_t> positions = {0, 1, 2, 0, 0, 1, 0,   // 3, 1, 2, 1
                                    0, 1, 2, 3, 4, 5, 6};  // one document
  TestTensor qkv = RandomTensor({14, 30}, GetParam(), 3);
  const std::vector<double> before = qkv.Values();
  const std::vector<double> expected = Reference(before, positions, shape);
  const Tensor positions_T(positions.data(), {14}, DType::kInt32);
  const TestTensor table = MakeTable(shape);
  context().Rotary(qkv, table, positions_T, shape, /*inverse=*/false);
  ExpectRounded(qkv, expected, "rotated");
  context().Rotary(qkv, table, positions_T, shape, /*inverse=*/true);
  ExpectRounded(qkv, before, "there and back",
                GetParam() == DType::kBFloat16 ? 4e-3 : 1e-6);
}

TEST_P(RotaryKernel, InverseUndoesAndValuesStayAsTheyAre) {
  const AttentionShape shape{9, 2, 1, 10};
  const int64_t T = 18;
  const int64_t C = 40;
  TestTensor qkv = RandomTensor({T, C}, GetParam(), 4);
  const std::vector<double> before = qkv.Values();
  const TestTensor table = MakeTable(shape);
  context().Rotary(qkv, table, kNone, shape, /*inverse=*/false);
  EXPECT_NE(qkv.Values(), before);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 30; i < C; ++i) {
      EXPECT_EQ(qkv.Get(t * C + i), before[static_cast<size_t>(t * C + i)]);
    }
  }
  context().Rotary(qkv, table, kNone, shape, /*inverse=*/true);
  ExpectRounded(qkv, before, "there and back",
                GetParam() == DType::kBFloat16 ? 4e-3 : 1e-6);
}

TEST_P(RotaryKernel, NoTokensAreAnOrdinaryCase) {
  const AttentionShape shape{7, 1, 1, 2};
  TestTensor qkv({0, 6}, GetParam());
  context().Rotary(qkv, MakeTable(shape), kNone, shape, /*inverse=*/false);
}

INSTANTIATE_BOTH_DTYPES(RotaryKernel);

TEST(RotaryTable, KeepsItsAccuracyFarIntoTheSequence) {
  const AttentionShape shape{100000, 1, 1, 8};
  const TestTensor table = MakeTable(shape);
  for (int64_t p : {0, 1, 77777, 99999}) {
    for (int64_t i = 0; i < 4; ++i) {
      const double angle =
          static_cast<double>(p) *
          std::pow(kTheta, -2.0 * static_cast<double>(i) / 8.0);
      EXPECT_NEAR(table.Get(p * 8 + i), std::cos(angle), 1e-7);
      EXPECT_NEAR(table.Get(p * 8 + 4 + i), std::sin(angle), 1e-7);
    }
  }
}

}  // namespace
}  // namespace moe
