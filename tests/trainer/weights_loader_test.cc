#include "trainer/checkpoint/store/weights_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/trainer/weights_loader_fixture.h"

namespace moe {
namespace {

using testing::HasSubstr;

TEST_F(WeightsLoaderTest, OneFileUnderClassicNames) {
  WriteFile(kSingleWeightsFile, Classic());
  ExpectAll(*Open());
}

TEST_F(WeightsLoaderTest, StackedExpertsOfVersionFive) {
  WriteFile(kSingleWeightsFile, Stacked());
  ExpectAll(*Open());
}

TEST_F(WeightsLoaderTest, BFloat16IsReadAsFloat) {
  WriteFile(kSingleWeightsFile, Classic(), StoredDType::kBF16);
  ExpectAll(*Open());
}

TEST_F(WeightsLoaderTest, ShardsByTheirIndex) {
  Tensors first = Classic();
  const Tensors second(first.begin() + 20, first.end());
  first.resize(20);
  WriteFile("a.safetensors", first);
  WriteFile("b.safetensors", second);
  std::string map;
  for (const auto& [tensor, values] : first)
    absl::StrAppend(&map, map.empty() ? "" : ",", "\"", tensor.name,
                    "\":\"a.safetensors\"");
  for (const auto& [tensor, values] : second)
    absl::StrAppend(&map, ",\"", tensor.name, "\":\"b.safetensors\"");
  WriteText(kWeightsIndexFile, absl::StrCat("{\"weight_map\":{", map, "}}"));
  ExpectAll(*Open());

  WriteText(
      kWeightsIndexFile,
      absl::StrCat("{\"weight_map\":{\"z\":\"b.safetensors\",", map, "}}"));
  ExpectOpenFails(absl::StatusCode::kDataLoss,
                  "places z in b.safetensors, which does not hold it");
  WriteText(
      kWeightsIndexFile,
      absl::StrCat("{\"weight_map\":{\"z\":\"c.safetensors\",", map, "}}"));
  ExpectOpenFails(absl::StatusCode::kNotFound, "c.safetensors");
  WriteText(kWeightsIndexFile,
            "{\"weight_map\":{\"lm_head.weight\":\"b.safetensors\"}}");
  ExpectOpenFails(absl::StatusCode::kDataLoss, "does not place there");
}

TEST_F(WeightsLoaderTest, ASliceIsReadAlone) {
  WriteFile(kSingleWeightsFile, Stacked());
  const auto loader = Open();
  for (const char* name :
       {"model.layers.1.block_sparse_moe.experts.3.w3.weight",
        "model.layers.0.block_sparse_moe.experts.1.w2.weight"}) {
    const size_t index = static_cast<size_t>(table_.Find(name));
    std::vector<float> values(5);
    ASSERT_TRUE(loader->LoadParameter(name, 11, absl::MakeSpan(values)).ok());
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_EQ(values[static_cast<size_t>(i)], ValueOf(index, 11 + i));
  }
}

TEST_F(WeightsLoaderTest, EveryRankTakesWhatItHolds) {
  WriteFile(kSingleWeightsFile, Classic());
  const auto loader = Open();
  const Mesh mesh = *Mesh::Create(2, 1, 2, kExperts);
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (int rank : {0, 1}) {
      const ParameterTable table(SmallModel(), dtype, mesh, rank);
      const auto storage = ParameterStorage::AllocateWeights(table);
      ASSERT_TRUE(storage.ok());
      ASSERT_TRUE(LoadWeights(*loader, table, *storage).ok());
      for (size_t i = 0; i < table.parameters().size(); ++i) {
        const Parameter& parameter = table.parameters()[i];
        if (!parameter.local) continue;
        const Tensor tensor = storage->Get(parameter);
        for (int64_t e = 0; e < parameter.size; ++e) {
          const float value = tensor.dtype() == DType::kFloat32
                                  ? tensor.data<float>()[e]
                                  : ToFloat(tensor.data<BFloat16>()[e]);
          ASSERT_EQ(value, ValueOf(i, e)) << parameter.name;
        }
      }
    }
  }
}

TEST_F(WeightsLoaderTest, MissingTensorsAreNamed) {
  Tensors tensors = Classic();
  tensors.erase(tensors.begin());
  ExpectCheckFails(tensors, "missing model.embed_tokens.weight");
}

TEST_F(WeightsLoaderTest, UnexpectedTensorsAreNamed) {
  Tensors tensors = Classic();
  StoredTensor extra;
  extra.name = "model.extra.bias";
  extra.shape = {1};
  tensors.emplace_back(extra, std::vector<float>{0});
  ExpectCheckFails(tensors, "not of this model model.extra.bias");
}

TEST_F(WeightsLoaderTest, MisshapenTensorsAreNamedWithBothShapes) {
  Tensors tensors = Classic();
  tensors[0].first.shape = {8, 10};
  ExpectCheckFails(tensors,
                   "model.embed_tokens.weight (F32 [8, 10], must be F32, BF16 "
                   "or F16 [10, 8])");
}

TEST_F(WeightsLoaderTest, ManyComplaintsAreShortened) {
  ExpectCheckFails({}, "and 37 more");
}

TEST_F(WeightsLoaderTest, AStackOfAnotherRankIsRefused) {
  StoredTensor stack;
  stack.name = "model.layers.0.mlp.experts.gate_up_proj";
  stack.shape = {4, 4};
  WriteFile(kSingleWeightsFile, {{stack, std::vector<float>(16)}});
  ExpectOpenFails(absl::StatusCode::kFailedPrecondition, "has shape [4, 4]");
}

TEST_F(WeightsLoaderTest, ATensorUnderBothNamesIsRefused) {
  Tensors tensors = Classic();
  for (const auto& tensor : Stacked())
    if (tensor.first.name == "model.layers.0.mlp.gate.weight")
      tensors.push_back(tensor);
  WriteFile(kSingleWeightsFile, tensors);
  ExpectOpenFails(
      absl::StatusCode::kDataLoss,
      "model.layers.0.block_sparse_moe.gate.weight is stored twice");
}

TEST_F(WeightsLoaderTest, ADirectoryWithoutWeightsIsNotFound) {
  ExpectOpenFails(absl::StatusCode::kNotFound,
                  "neither model.safetensors nor model.safetensors.index.json");
}

TEST_F(WeightsLoaderTest, ADamagedFileIsNamed) {
  WriteText(kSingleWeightsFile, "no tensors");
  ExpectOpenFails(absl::StatusCode::kDataLoss,
                  JoinPath(directory_, kSingleWeightsFile));
}

}  // namespace
}  // namespace moe
