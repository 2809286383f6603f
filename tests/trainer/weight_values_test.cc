#include "trainer/checkpoint/store/weight_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/trainer/weights_loader_fixture.h"

namespace moe {
namespace {

using testing::HasSubstr;

class WeightValuesTest : public WeightsLoaderTest {};

TEST_F(WeightValuesTest, AHeadBesideTiedEmbeddingsMustBeTheEmbedding) {
  ModelConfig tied = SmallModel();
  tied.set_tie_word_embeddings(true);
  const ParameterTable table(tied, DType::kFloat32, mesh_, 0);
  Tensors tensors = Classic();
  ASSERT_EQ(tensors.front().first.name, kEmbeddingName);
  ASSERT_EQ(tensors.back().first.name, kHeadName);
  tensors.back().second = tensors.front().second;
  WriteFile(kSingleWeightsFile, tensors);
  EXPECT_TRUE(Open()->Check(table).ok());
  EXPECT_TRUE(CheckSpareTensors(*Open(), tied).ok());
  // The last element, which the last of three shares sees.
  tensors.back().second.back() += 1;
  WriteFile(kSingleWeightsFile, tensors);
  const auto loader = Open();
  EXPECT_TRUE(loader->Check(table).ok());
  EXPECT_THAT(std::string(CheckSpareTensors(*loader, tied).message()),
              HasSubstr("lm_head.weight differs from model.embed_tokens.weight "
                        "(element 79 is "));
  EXPECT_TRUE(CheckWeightValues(*loader, tied, 0, 3).ok());
  EXPECT_TRUE(
      absl::IsFailedPrecondition(CheckWeightValues(*loader, tied, 2, 3)));
  tensors.back().first.shape = {8, 10};
  WriteFile(kSingleWeightsFile, tensors);
  EXPECT_THAT(std::string(Open()->Check(table).message()),
              HasSubstr("lm_head.weight (F32 [8, 10]"));
}

TEST_F(WeightValuesTest, RotaryBuffersArePassedOverIfTheyAreTheModels) {
  Tensors tensors = Classic();
  const auto add = [&](const std::string& name, std::vector<float> values,
                       std::vector<uint64_t> shape = {}) {
    StoredTensor tensor;
    tensor.name = name;
    tensor.shape = shape;
    if (shape.empty()) tensor.shape = {values.size()};
    tensors.emplace_back(tensor, values);
    WriteFile(kSingleWeightsFile, tensors);
  };
  const std::string layer = "model.layers.1.self_attn.rotary_emb.";
  // Heads of 4; rounded as bfloat16 would.
  add(layer + "inv_freq", {1, 0.000999f});
  // Of two positions.
  add("model.rotary_emb.cos_cached", {1, 1, 1, 1, 0.54f, 1, 0.54f, 1},
      {1, 1, 2, 4});
  EXPECT_TRUE(Open()->Check(table_).ok());
  EXPECT_THAT(
      Open()->PassedOver(),
      testing::ElementsAre(layer + "inv_freq", "model.rotary_emb.cos_cached"));
  const absl::Status status = CheckSpareTensors(*Open(), SmallModel());
  EXPECT_TRUE(status.ok()) << status;
  const auto refused = [&] {
    return std::string(CheckSpareTensors(*Open(), SmallModel()).message());
  };
  add("model.rotary_emb.sin_cached", {0, 0, 0.84f, 0.001f}, {2, 2});
  EXPECT_EQ(refused(), "");
  tensors.pop_back();
  add("model.rotary_emb.sin_cached", {0, 0, 0.84f, 0.1f}, {2, 2});
  EXPECT_THAT(refused(),
              HasSubstr("model.rotary_emb.sin_cached holds 0.1 at "
                        "element 3, rope_theta (1e+06) gives 0.001"));
  // The second of two shares sees it, the first does not.
  EXPECT_TRUE(CheckWeightValues(*Open(), SmallModel(), 0, 2).ok());
  EXPECT_FALSE(CheckWeightValues(*Open(), SmallModel(), 1, 2).ok());
  tensors.pop_back();
  add("model.rotary_emb.sin_cached", {0, 0, 0}, {1, 3});
  EXPECT_THAT(refused(), HasSubstr("has 3 columns, must have 4"));
  tensors.pop_back();
  add("model.rotary_emb.inv_freq", {1, 0.01f});
  EXPECT_THAT(std::string(CheckSpareTensors(*Open(), SmallModel()).message()),
              HasSubstr("model.rotary_emb.inv_freq holds 0.01 at element 1, "
                        "rope_theta (1e+06) gives 0.001"));
  tensors.pop_back();
  add("model.rotary_emb.original_inv_freq", {1});
  EXPECT_FALSE(Open()->Check(table_).ok()) << "no name that we know";
}

TEST_F(WeightValuesTest, ValuesThatAreNotFiniteAreNamed) {
  const std::string name = "model.layers.1.block_sparse_moe.gate.weight";
  for (const float value : {std::numeric_limits<float>::quiet_NaN(),
                            -std::numeric_limits<float>::infinity()}) {
    Tensors tensors = Classic();
    for (auto& [tensor, values] : tensors)
      if (tensor.name == name) values[20] = value;
    WriteFile(kSingleWeightsFile, tensors);
    const auto loader = Open();
    EXPECT_TRUE(CheckWeightValues(*loader, SmallModel(), 0, 2).ok());
    const absl::Status status = CheckWeightValues(*loader, SmallModel(), 1, 2);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat(name,
                                       " holds values that are not finite, "
                                       "the first (",
                                       value, ") at element 20")));
  }
}

}  // namespace
}  // namespace moe
