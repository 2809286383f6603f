#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/moe/kernel_test_util.h"

namespace moe {
namespace {

// Around vectors of 8, and enough for several blocks and threads.
const std::vector<int64_t> kSizes = {0, 1, 7, 8, 33, 16384, 100003};

class ElementwiseTest : public KernelTest {};

TEST_P(ElementwiseTest, ConvertRoundsOnceToTheDtype) {
  for (int64_t n : kSizes) {
    for (DType from : {DType::kFloat32, DType::kBFloat16}) {
      const TestTensor x = RandomTensor({n}, from, 1, 10);
      TestTensor y({n}, GetParam());
      context().Convert(y, x);
      TestTensor expected({n}, GetParam());
      for (int64_t i = 0; i < n; ++i) expected.Set(i, x.Get(i));
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y.Get(i), expected.Get(i)) << n;
    }
  }
}

// All of bfloat16's exponents, ties of both kinds, denormals, infinities and
// NaN, each among ordinary numbers and among its like.
TEST(ConvertTest, RoundsToBFloat16AsTheScalarDoes) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  std::vector<uint32_t> patterns;
  for (uint32_t high = 0; high < 0x10000; high += 7) {
    for (uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      patterns.push_back((high << 16) | low);
  }
  for (size_t repeat : {size_t{1}, size_t{37}}) {
    std::vector<float> x(patterns.size() * repeat, 1.0f);
    for (size_t i = 0; i < patterns.size(); ++i)
      x[i * repeat] = std::bit_cast<float>(patterns[i]);
    std::vector<BFloat16> y(x.size());
    const auto n = static_cast<int64_t>(x.size());
    context->Convert(Tensor(y.data(), {n}, DType::kBFloat16),
                     Tensor(x.data(), {n}, DType::kFloat32));
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(y[i].bits, ToBFloat16(x[i]).bits) << x[i];
  }
}

TEST_P(ElementwiseTest, ConvertKeepsInfinitiesAndNaN) {
  TestTensor x({3}, DType::kFloat32);
  x.Set(0, std::numeric_limits<double>::infinity());
  x.Set(1, -std::numeric_limits<double>::infinity());
  x.Set(2, std::nan(""));
  TestTensor y({3}, GetParam());
  context().Convert(y, x);
  EXPECT_EQ(y.Get(0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(y.Get(1), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(y.Get(2)));
}

TEST_P(ElementwiseTest, SetZeroClearsAllElementsAndNoOthers) {
  for (int64_t n : kSizes) {
    TestTensor x = RandomTensor({n + 2}, GetParam(), 1);
    x.Set(0, 5);
    x.Set(n + 1, 6);
    context().SetZero(x.view().Rows(1, n));
    EXPECT_EQ(x.Get(0), 5);
    EXPECT_EQ(x.Get(n + 1), 6);
    for (int64_t i = 1; i <= n; ++i) ASSERT_EQ(x.Get(i), 0) << n;
  }
}

TEST_P(ElementwiseTest, FirstNonFiniteIsTheLowestIndex) {
  constexpr int64_t n = 100003;
  const double bad[] = {std::numeric_limits<double>::infinity(),
                        -std::numeric_limits<double>::infinity(), std::nan("")};
  TestTensor x = RandomTensor({n}, GetParam(), 1);
  EXPECT_EQ(context().FirstNonFinite(x), -1);
  int which = 0;
  for (int64_t index :
       {n - 1, n / 2 + 100, n / 2, int64_t{20000}, int64_t{16384},
        int64_t{16383}, int64_t{9}, int64_t{0}}) {
    x.Set(index, bad[which++ % 3]);
    EXPECT_EQ(context().FirstNonFinite(x), index);
  }
}

TEST_P(ElementwiseTest, TheLargestFiniteNumberIsFinite) {
  TestTensor x({33}, GetParam());
  x.Fill(3.3e38);
  EXPECT_EQ(context().FirstNonFinite(x), -1);
  EXPECT_EQ(context().FirstNonFinite(x.view().Rows(0, 0)), -1);
}

double SumOfSquares(Kernels& kernels, const TestTensor& x) {
  TestTensor sum({1}, DType::kFloat64);
  sum.Fill(9);  // overwritten
  kernels.SumOfSquares(sum, x);
  return sum.Get(0);
}

TEST(SumOfSquaresTest, AgreesWithALongSumInDouble) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  for (int64_t n : kSizes) {
    const TestTensor x = RandomTensor({n}, DType::kFloat32, 1);
    long double expected = 0;
    for (double value : x.Values())
      expected += static_cast<long double>(value) * value;
    EXPECT_NEAR(SumOfSquares(*context, x), static_cast<double>(expected),
                1e-13 * static_cast<double>(expected))
        << n;
  }
}

TEST(SumOfSquaresTest, IsTheSameToTheBitForAnyNumberOfThreads) {
  const TestTensor x = RandomTensor({300007}, DType::kFloat32, 1);
  const std::unique_ptr<Kernels> single = MakeCpuKernels(1);
  const double sum = SumOfSquares(*single, x);
  for (int threads : {2, 3, 16}) {
    const std::unique_ptr<Kernels> context = MakeCpuKernels(threads);
    EXPECT_EQ(SumOfSquares(*context, x), sum) << threads;
  }
}

TEST(SumOfSquaresTest, DoesNotOverflowWhereFloat32Would) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  TestTensor x({9}, DType::kFloat32);
  x.Fill(std::ldexp(1.0, 100));
  EXPECT_EQ(SumOfSquares(*context, x), std::ldexp(9.0, 200));
}

INSTANTIATE_BOTH_DTYPES(ElementwiseTest);

}  // namespace
}  // namespace moe
