#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "tests/moe/kernel_test_util.h"

// Letters: T tokens, K experts per token, N rows, E experts, P ranks, e
// experts of a rank, R rows arrived, D elements of a row.

namespace moe {
namespace {

using Ints = std::vector<int64_t>;

// Every token's K experts, distinct, by a fixed rule.
TestTensor MakeChoices(int64_t T, int64_t K, int64_t E, uint64_t seed) {
  const TestTensor logits = RandomTensor({T, E}, DType::kFloat32, seed);
  TestTensor p({T, E}, DType::kFloat32), ids({T, K}, DType::kInt32);
  TestTensor weights({T, K}, DType::kFloat32), lse({T}, DType::kFloat32);
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  context->RouterTopK(p, ids, weights, lse, logits,
                      {static_cast<int>(K), true, false});
  return ids;
}

// Checks both orders and the counts against a stable sort.
void CheckSorted(const TestTensor& ids, int64_t E) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  const int64_t T = ids.view().dim(0), K = ids.view().dim(1);
  Ints order;  // the choices that were not dropped
  for (int64_t choice = 0; choice < T * K; ++choice)
    if (ids.Get(choice) >= 0) order.push_back(choice);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return ids.Get(a) < ids.Get(b);
  });
  const auto N = static_cast<int64_t>(order.size());
  TestTensor choice_of_row({T * K}, DType::kInt32);
  TestTensor row_of_choice({T, K}, DType::kInt32);
  TestTensor token_of_row({T * K}, DType::kInt32);
  TestTensor counts({E}, DType::kInt64);
  counts.Fill(-1);  // overwritten
  context->SortChoices(choice_of_row, token_of_row, row_of_choice, counts, ids);

  std::vector<double> expected_counts(static_cast<size_t>(E), 0);
  for (int64_t row = 0; row < N; ++row) {
    const int64_t choice = order[static_cast<size_t>(row)];
    ++expected_counts[static_cast<size_t>(ids.Get(choice))];
    EXPECT_EQ(choice_of_row.Get(row), static_cast<double>(choice));
    EXPECT_EQ(row_of_choice.Get(choice), static_cast<double>(row));
    EXPECT_EQ(token_of_row.Get(row), static_cast<double>(choice / K));
  }
  EXPECT_EQ(counts.Values(), expected_counts);
  for (int64_t row = N; row < T * K; ++row) {
    EXPECT_EQ(choice_of_row.Get(row), -1);
    EXPECT_EQ(token_of_row.Get(row), -1);
  }
  for (int64_t choice = 0; choice < T * K; ++choice)
    EXPECT_EQ(row_of_choice.Get(choice) == -1, ids.Get(choice) == -1);
}

TEST(SortChoices, SortsByExpertAndKeepsTokensInOrder) {
  CheckSorted(MakeChoices(1, 1, 1, 1), 1);
  CheckSorted(MakeChoices(7, 2, 3, 2), 3);
  CheckSorted(MakeChoices(33, 3, 8, 3), 8);
  CheckSorted(MakeChoices(33, 2, 200, 4), 200);  // many experts without tokens
  CheckSorted(MakeChoices(0, 2, 4, 5), 4);
}

TEST(SortChoices, OneExpertMayTakeEverything) {
  TestTensor ids({9, 1}, DType::kInt32);
  ids.Fill(3);
  CheckSorted(ids, 5);
}

TEST(SortChoices, DroppedChoicesHaveNoRow) {
  TestTensor ids = MakeChoices(33, 3, 8, 6);
  for (int64_t i = 0; i < ids.size(); i += 4) ids.Set(i, -1);
  for (int64_t i = 12; i < 15; ++i) ids.Set(i, -1);  // all of a token
  CheckSorted(ids, 8);
  ids.Fill(-1);
  CheckSorted(ids, 8);
}

void CheckArrivals(const Ints& counts_Pe, int64_t e) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(1);
  // Each arrival as (expert, source, where it arrived), sorted.
  std::vector<std::tuple<int64_t, int64_t, int64_t>> rows;
  for (size_t i = 0; i < counts_Pe.size(); ++i) {
    const auto source = static_cast<int64_t>(i) / e;
    const auto expert = static_cast<int64_t>(i) % e;
    for (int64_t j = 0; j < counts_Pe[i]; ++j)
      rows.emplace_back(expert, source, static_cast<int64_t>(rows.size()));
  }
  std::sort(rows.begin(), rows.end());
  const auto R = static_cast<int64_t>(rows.size());
  TestTensor arrival_of_row({R}, DType::kInt32);
  TestTensor row_of_arrival({R}, DType::kInt32);
  context->OrderArrivals(arrival_of_row, row_of_arrival, counts_Pe, e);
  for (int64_t row = 0; row < R; ++row) {
    const int64_t arrival = std::get<2>(rows[static_cast<size_t>(row)]);
    EXPECT_EQ(arrival_of_row.Get(row), static_cast<double>(arrival));
    EXPECT_EQ(row_of_arrival.Get(arrival), static_cast<double>(row));
  }
}

TEST(OrderArrivals, OrdersByExpertThenSource) {
  CheckArrivals({3}, 1);
  CheckArrivals({1, 2, 3, 4}, 2);
  CheckArrivals({1, 2, 3, 4}, 1);
  CheckArrivals({0, 5, 0, 2, 0, 0, 1, 0, 7, 0, 3, 0}, 3);
  CheckArrivals({0, 0, 0, 0}, 2);
  CheckArrivals({0, 0, 9, 0, 0, 0}, 3);
  Ints many(64 * 5);
  for (size_t i = 0; i < many.size(); ++i)
    many[i] = static_cast<int64_t>(i * i % 7) - 3 > 0 ? 4 : 0;
  CheckArrivals(many, 5);
}

TEST(GatherRows, CopiesRowsOfAnyDType) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kInt32,
                      DType::kInt64, DType::kFloat64}) {
    for (auto [T, N, D] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                           {7, 33, 5},
                           {33, 7, 64},
                           {3, 2000, 33},
                           {5, 0, 4}}) {
      TestTensor x({T, D}, dtype), y({N, D}, dtype), index({N}, DType::kInt32);
      for (int64_t i = 0; i < x.size(); ++i)
        x.Set(i, static_cast<double>(i % 251));
      for (int64_t n = 0; n < N; ++n)
        index.Set(n, static_cast<double>(n * 5 % T));
      context->GatherRows(y, x, index);
      for (int64_t i = 0; i < N * D; ++i)
        ASSERT_EQ(y.Get(i), x.Get(i / D * 5 % T * D + i % D));
    }
  }
}

// Long rows in more runs than are taken together, over several blocks of x.
TEST(GatherRows, CopiesRunsThatRise) {
  for (int threads : {1, 2}) {
    const std::unique_ptr<Kernels> context = MakeCpuKernels(threads);
    for (auto [T, N, D, step] :
         {std::tuple<int64_t, int64_t, int64_t, int64_t>{1500, 3000, 259, 4},
          {1500, 3000, 259, 1},
          {1500, 6050, 256, 7},
          {600, 9000, 64, 151},
          {3000, 300, 256, 37}}) {
      TestTensor x({T, D}, DType::kFloat32), y({N, D}, DType::kFloat32);
      TestTensor index({N}, DType::kInt32);
      for (int64_t i = 0; i < x.size(); ++i) x.Set(i, static_cast<double>(i));
      y.Fill(-1);
      for (int64_t n = 0; n < N; ++n) {
        const bool is_nowhere = n % 97 == 5 || n < 3 || n + 3 > N;
        index.Set(n, is_nowhere ? -1 : static_cast<double>(n * step % T));
      }
      context->GatherRows(y, x, index);
      for (int64_t i = 0; i < N * D; ++i) {
        const double token = index.Get(i / D);
        const double expected = token < 0 ? 0
                                          : token * static_cast<double>(D) +
                                                static_cast<double>(i % D);
        ASSERT_EQ(y.Get(i), expected) << T << " " << step << " " << i;
      }
    }
  }
}

TEST(GatherRows, RowsFromNowhereAreZero) {
  const std::unique_ptr<Kernels> context = MakeCpuKernels(2);
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    TestTensor x({2, 33}, dtype), y({4, 33}, dtype);
    x.Fill(3);
    y.Fill(9);
    context->GatherRows(y, x, IndexTensor({4}, {-1, 1, 0, -1}));
    for (int64_t i = 0; i < y.size(); ++i)
      EXPECT_EQ(y.Get(i), i / 33 % 3 == 0 ? 0 : 3) << i;
    TestTensor none({0, 33}, dtype);
    y.Fill(9);
    context->GatherRows(y, none, IndexTensor({4}, {-1, -1, -1, -1}));
    EXPECT_EQ(y.Values(), std::vector<double>(4 * 33, 0.0));
  }
}

class SumRowsTest : public KernelTest {};

TEST_P(SumRowsTest, AddsEachTokensRows) {
  for (auto [T, K, D] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                         {7, 2, 33},
                         {33, 3, 64},
                         {300, 2, 129},
                         {0, 2, 4}}) {
    for (DType y_dtype : {DType::kFloat32, GetParam()}) {
      for (bool accumulate : {false, true}) {
        const int64_t N = T * K;
        const TestTensor x = RandomTensor({N, D}, GetParam(), 1);
        TestTensor y = RandomTensor({T, D}, y_dtype, 2);
        TestTensor index({T, K}, DType::kInt32);
        for (int64_t n = 0; n < N; ++n)
          index.Set(n, static_cast<double>(N - 1 - n));
        std::vector<double> expected = y.Values();
        for (int64_t i = 0; i < T * D; ++i) {
          double& sum = expected[static_cast<size_t>(i)];
          if (!accumulate) sum = 0;
          for (int64_t k = 0; k < K; ++k)
            sum += x.Get((N - 1 - (i / D * K + k)) * D + i % D);
        }
        context().SumRows(y, x, index, accumulate);
        ExpectRounded(y, expected, accumulate ? "accumulated" : "overwritten");
      }
    }
  }
}

TEST_P(SumRowsTest, AddsInTheOrderOfTheChoices) {
  // In float32 (1e8 - 1e8) + 1 is 1, but (1e8 + 1) - 1e8 is 0.
  TestTensor x({3, 1}, DType::kFloat32), y({1, 1}, DType::kFloat32);
  x.Set(0, 1);
  x.Set(1, -1e8);
  x.Set(2, 1e8);
  context().SumRows(y, x, IndexTensor({1, 3}, {2, 1, 0}), false);
  EXPECT_EQ(y.Get(0), 1);
  context().SumRows(y, x, IndexTensor({1, 3}, {2, 0, 1}), false);
  EXPECT_EQ(y.Get(0), 0);
}

TEST_P(SumRowsTest, RowsFromNowhereAddNothing) {
  const TestTensor x = RandomTensor({3, 33}, GetParam(), 1);
  const TestTensor index = IndexTensor({3, 2}, {-1, 2, -1, -1, 0, -1});
  for (bool accumulate : {false, true}) {
    TestTensor y = RandomTensor({3, 33}, DType::kFloat32, 2);
    std::vector<double> expected = y.Values();
    for (int64_t i = 0; i < 3 * 33; ++i) {
      double& sum = expected[static_cast<size_t>(i)];
      if (!accumulate) sum = 0;
      if (i / 33 == 0) sum += x.Get(2 * 33 + i % 33);
      if (i / 33 == 2) sum += x.Get(i % 33);
    }
    context().SumRows(y, x, index, accumulate);
    ExpectRounded(y, expected, accumulate ? "accumulated" : "overwritten");
  }
}

INSTANTIATE_BOTH_DTYPES(SumRowsTest);

}  // namespace
}  // namespace moe
