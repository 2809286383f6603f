#include "moe/tensor.h"

#include <vector>

#include "gtest/gtest.h"

namespace moe {
namespace {

TEST(Tensor, RowsAreViewsOfTheSameMemory) {
  std::vector<float> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const Tensor x(values.data(), {3, 2, 2}, DType::kFloat32);
  const Tensor rows = x.Rows(1, 2);
  EXPECT_EQ(rows.rank(), 3);
  EXPECT_EQ(rows.dim(0), 2);
  EXPECT_EQ(rows.size(), 8);
  EXPECT_EQ(rows.data<float>()[0], 4);
  rows.data<float>()[0] = -1;
  EXPECT_EQ(values[4], -1);
}

TEST(Tensor, IndexingDropsTheFirstDim) {
  std::vector<int32_t> values = {0, 1, 2, 3, 4, 5};
  const Tensor x(values.data(), {2, 3}, DType::kInt32);
  const Tensor row = x[1];
  EXPECT_EQ(row.rank(), 1);
  EXPECT_EQ(row.dim(0), 3);
  EXPECT_EQ(row.data<int32_t>()[2], 5);
  EXPECT_EQ(row[2].size(), 1);
  EXPECT_EQ(row[2].data<int32_t>()[0], 5);
}

TEST(Tensor, RowsOfBFloat16StepByTwoBytes) {
  std::vector<BFloat16> values(6);
  values[4] = ToBFloat16(3);
  const Tensor x(values.data(), {3, 2}, DType::kBFloat16);
  EXPECT_EQ(ToFloat(x[2].data<BFloat16>()[0]), 3);
}

TEST(Tensor, NoRowsIsATensorOfSizeZero) {
  std::vector<float> values(4);
  const Tensor x(values.data(), {2, 2}, DType::kFloat32);
  const Tensor none = x.Rows(2, 0);
  EXPECT_EQ(none.size(), 0);
  EXPECT_FALSE(none.is_null());
  EXPECT_TRUE(Tensor().is_null());
}

TEST(Tensor, ViewCountsElements) {
  std::vector<BFloat16> values(6);
  const Tensor x(values.data(), {3, 2}, DType::kBFloat16);
  EXPECT_EQ(x.View().count, 6);
  EXPECT_EQ(x.View().dtype, DType::kBFloat16);
}

TEST(TensorDeathTest, TheWrongTypeOrSizeIsADefect) {
  std::vector<float> values(4);
  const Tensor x(values.data(), {2, 2}, DType::kFloat32);
  EXPECT_EXIT(x.data<BFloat16>(), testing::ExitedWithCode(70), "dtype");
  EXPECT_EXIT(x.Reshape({3, 1}), testing::ExitedWithCode(70), "size");
}

}  // namespace
}  // namespace moe
