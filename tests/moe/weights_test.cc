#include "moe/parameters/weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden_file.h"
#include "tests/moe/network_cases.h"

namespace moe {
namespace {

constexpr uint64_t kSeed = 42;

ModelConfig EightExperts() {
  ModelConfig model = SmallModel({});
  model.set_num_local_experts(8);
  return model;
}

Parameter Named(const std::string& name, int64_t size) {
  Parameter parameter;
  parameter.name = name;
  parameter.size = size;
  return parameter;
}

std::vector<float> ValuesOf(const ModelConfig& model,
                            const Parameter& parameter, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(parameter.size));
  InitialValues(model, parameter, seed, 0, absl::MakeSpan(values));
  return values;
}

TEST(InitialArena, IsTheSameModelOnEveryMesh) {
  const ModelConfig model = EightExperts();
  for (int expert : {1, 2, 8}) {
    const Mesh mesh = Mesh::Create(8, 1, expert, 8).value();
    for (int rank : {0, 3, 7}) {
      const ParameterTable table(model, DType::kFloat32, mesh, rank);
      for (ArenaKind kind : kAllArenaKinds) {
        std::vector<float> arena(static_cast<size_t>(table.ArenaSize(kind)),
                                 -1);
        InitialArena(model, table, kind, kSeed, 0, absl::MakeSpan(arena));
        size_t end = 0;
        for (const Parameter& parameter : table.parameters()) {
          if (!parameter.local || parameter.arena != kind) continue;
          const size_t begin = static_cast<size_t>(parameter.offset);
          end = begin + static_cast<size_t>(parameter.size);
          EXPECT_EQ(
              std::vector<float>(arena.begin() + static_cast<ptrdiff_t>(begin),
                                 arena.begin() + static_cast<ptrdiff_t>(end)),
              ValuesOf(model, parameter, kSeed))
              << parameter.name;
        }
        for (size_t i = end; i < arena.size(); ++i) EXPECT_EQ(arena[i], 0);
      }
    }
  }
}

TEST(InitialArena, SlicesOfAnySizeAreTheWhole) {
  const ModelConfig model = EightExperts();
  const Mesh mesh = Mesh::Create(2, 1, 2, 8).value();
  const ParameterTable table(model, DType::kFloat32, mesh, 1);
  for (ArenaKind kind : kAllArenaKinds) {
    const size_t size = static_cast<size_t>(table.ArenaSize(kind));
    std::vector<float> whole(size);
    std::vector<float> pieces(size);
    InitialArena(model, table, kind, kSeed, 0, absl::MakeSpan(whole));
    const size_t kPiece = 37;  // cuts parameters and blocks of four alike
    for (size_t begin = 0; begin < size; begin += kPiece) {
      InitialArena(model, table, kind, kSeed, static_cast<int64_t>(begin),
                   absl::MakeSpan(pieces).subspan(begin, kPiece));
    }
    EXPECT_EQ(pieces, whole);
  }
}

TEST(InitialArena, OfATensorRankIsItsSliceOfTheWhole) {
  ModelConfig model = EightExperts();
  model.set_num_key_value_heads(4);
  const Mesh mesh = Mesh::Create(4, 4, 1, 8).value();
  for (int rank = 0; rank < 4; ++rank) {
    const ParameterTable table(model, DType::kFloat32, mesh, rank);
    std::vector<float> arena(
        static_cast<size_t>(table.ArenaSize(ArenaKind::kTensor)));
    InitialArena(model, table, ArenaKind::kTensor, kSeed, 0,
                 absl::MakeSpan(arena));
    for (const Parameter& parameter : table.parameters()) {
      if (parameter.arena != ArenaKind::kTensor) continue;
      const std::vector<float> whole = ValuesOf(model, parameter, kSeed);
      const std::vector<double> slice =
          SliceOf(parameter, std::vector<double>(whole.begin(), whole.end()));
      const auto begin = arena.begin() + parameter.offset;
      EXPECT_TRUE(std::equal(slice.begin(), slice.end(), begin))
          << parameter.name << " on tensor rank " << rank;
    }
  }
}

TEST(InitialValues, DependOnSeedAndNameAlone) {
  const ModelConfig model = EightExperts();
  const Parameter a = Named("a", 64);
  Parameter b = Named("b", 64);
  EXPECT_NE(ValuesOf(model, a, 1), ValuesOf(model, b, 1));
  EXPECT_NE(ValuesOf(model, a, 1), ValuesOf(model, a, 2));
  b.name = "a";
  b.arena = ArenaKind::kExpert;
  b.offset = 5;
  EXPECT_EQ(ValuesOf(model, a, 1), ValuesOf(model, b, 1));
}

TEST(InitialValues, AreNormalWithTheConfiguredDeviationAndNormsAreOne) {
  ModelConfig model = EightExperts();
  model.set_initializer_range(0.5);
  const Parameter matrix = Named("matrix", 40000);
  double sum = 0;
  double squares = 0;
  for (float value : ValuesOf(model, matrix, kSeed)) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 40000, 0, 0.01);
  EXPECT_NEAR(std::sqrt(squares / 40000), 0.5, 0.01);
  Parameter norm = Named("norm", 3);
  norm.is_norm = true;
  EXPECT_THAT(ValuesOf(model, norm, kSeed), testing::Each(1.0f));
}

// Gives every local element its own number, by parameter.
void Number(const ParameterTable& table, const ParameterStorage& storage) {
  float next = 0;
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.local) continue;
    float* x = storage.Get(parameter).data<float>();
    for (int64_t i = 0; i < parameter.size; ++i) x[i] = next++;
  }
}

TEST(BindWeights, ShowsEachParameterAtItsPlace) {
  const ModelConfig model = EightExperts();
  const Mesh mesh = Mesh::Create(4, 1, 4, 8).value();
  const ParameterTable table(model, DType::kFloat32, mesh, /*rank=*/2);
  const ParameterStorage storage =
      ParameterStorage::AllocateWeights(table).value();
  Number(table, storage);
  const ModelWeights weights = BindWeights(model, table, storage);
  auto expect_is = [&](const Tensor& view, const std::string& name) {
    const int index = table.Find(name);
    ASSERT_GE(index, 0) << name;
    const Tensor parameter =
        storage.Get(table.parameters()[static_cast<size_t>(index)]);
    EXPECT_EQ(view.raw(), parameter.raw()) << name;
    EXPECT_EQ(view.size(), parameter.size()) << name;
  };
  expect_is(weights.embedding_VD, "model.embed_tokens.weight");
  expect_is(weights.norm_D, "model.norm.weight");
  expect_is(weights.head_VD, "lm_head.weight");
  const LayerWeights& layer = weights.layers[1];
  const std::string prefix = "model.layers.1.";
  expect_is(layer.input_norm_D, prefix + "input_layernorm.weight");
  // H d = 24 rows of q, then G d = 12 of k and of v.
  EXPECT_EQ(layer.qkv_CD.dim(0), 48);
  expect_is(layer.qkv_CD.Rows(0, 24), prefix + "self_attn.q_proj.weight");
  expect_is(layer.qkv_CD.Rows(24, 12), prefix + "self_attn.k_proj.weight");
  expect_is(layer.qkv_CD.Rows(36, 12), prefix + "self_attn.v_proj.weight");
  expect_is(layer.o_DA, prefix + "self_attn.o_proj.weight");
  expect_is(layer.post_attention_norm_D,
            prefix + "post_attention_layernorm.weight");
  expect_is(layer.gate_ED, prefix + "block_sparse_moe.gate.weight");
  ASSERT_EQ(layer.gate_up_eGD.dim(0), 2);
  for (int64_t local : {0, 1}) {  // rank 2 of 4 holds experts 4 and 5
    const std::string expert =
        prefix + "block_sparse_moe.experts." + std::to_string(4 + local) + ".";
    expect_is(layer.gate_up_eGD[local].Rows(0, 7), expert + "w1.weight");
    expect_is(layer.gate_up_eGD[local].Rows(7, 7), expert + "w3.weight");
    expect_is(layer.down_eDF[local], expert + "w2.weight");
  }
}

TEST(BindWeights, GradientsOfTheFrozenAreNull) {
  const ModelConfig model = EightExperts();
  const Mesh mesh = Mesh::Create(4, 1, 4, 8).value();
  const ParameterTable table(
      model, DType::kFloat32, mesh, /*rank=*/2,
      [](const Parameter& p) { return p.is_norm || p.expert >= 0; });
  const ParameterStorage weights =
      ParameterStorage::AllocateWeights(table).value();
  const ParameterStorage gradients =
      ParameterStorage::AllocateGradients(table).value();
  for (const LayerWeights& layer :
       BindWeights(model, table, gradients).layers) {
    EXPECT_FALSE(layer.input_norm_D.is_null());
    EXPECT_TRUE(layer.qkv_CD.is_null());
    EXPECT_TRUE(layer.o_DA.is_null());
    EXPECT_TRUE(layer.gate_ED.is_null());
    EXPECT_FALSE(layer.gate_up_eGD.is_null());
    EXPECT_FALSE(layer.down_eDF.is_null());
  }
  for (const LayerWeights& layer : BindWeights(model, table, weights).layers) {
    EXPECT_EQ(layer.qkv_CD.dim(0), 48);
    EXPECT_FALSE(layer.o_DA.is_null());
    EXPECT_FALSE(layer.gate_ED.is_null());
  }
}

TEST(BindWeights, ATiedHeadIsTheEmbedding) {
  const ModelConfig model = SmallModel({.tied = true});
  const Mesh mesh = Mesh::Create(1, 1, 1, 5).value();
  const ParameterTable table(model, DType::kFloat32, mesh, 0);
  const ParameterStorage storage =
      ParameterStorage::AllocateWeights(table).value();
  const ModelWeights weights = BindWeights(model, table, storage);
  EXPECT_EQ(weights.head_VD.raw(), weights.embedding_VD.raw());
}

TEST(ParameterStorage, MovedFromOneToAnotherKeepsItsViews) {
  const ModelConfig model = EightExperts();
  const Mesh mesh = Mesh::Create(1, 1, 1, 8).value();
  const ParameterTable table(model, DType::kBFloat16, mesh, 0);
  ParameterStorage first = ParameterStorage::AllocateGradients(table).value();
  const Tensor view = first.Get(table.parameters()[0]);
  EXPECT_EQ(view.dtype(), DType::kFloat32);  // gradients always are
  view.data<float>()[0] = 3;
  const ParameterStorage second = std::move(first);
  EXPECT_EQ(second.Get(table.parameters()[0]).data<float>()[0], 3);
}

}  // namespace
}  // namespace moe
