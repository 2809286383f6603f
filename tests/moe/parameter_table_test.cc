#include "moe/parameters/parameter_table.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "moe/model_config.h"
#include "tests/moe/network_cases.h"

namespace moe {
namespace {

using testing::ElementsAre;

ModelConfig EightExperts() {
  ModelConfig model = SmallModel({});
  model.set_num_local_experts(8);
  return model;
}

ParameterTable TableOf(const ModelConfig& model, int world, int expert,
                       int rank) {
  const Mesh mesh =
      Mesh::Create(world, 1, expert, model.num_local_experts()).value();
  return ParameterTable(model, DType::kFloat32, mesh, rank);
}

TEST(ParameterTable, OfMixtralHas995TensorsUnderTheHubsNames) {
  const ParameterTable table = TableOf(Mixtral8x7B(), 1, 1, 0);
  EXPECT_EQ(table.parameters().size(), 995u);
  int64_t total = 0;
  std::set<std::string> names;
  for (const Parameter& parameter : table.parameters()) {
    total += parameter.size;
    names.insert(parameter.name);
  }
  EXPECT_EQ(total, 46'702'792'704);
  EXPECT_EQ(names.size(), 995u);

  const std::map<std::string, std::vector<int64_t>> kShapes = {
      {"model.embed_tokens.weight", {32000, 4096}},
      {"model.layers.31.input_layernorm.weight", {4096}},
      {"model.layers.0.self_attn.q_proj.weight", {4096, 4096}},
      {"model.layers.0.self_attn.k_proj.weight", {1024, 4096}},
      {"model.layers.0.self_attn.v_proj.weight", {1024, 4096}},
      {"model.layers.0.self_attn.o_proj.weight", {4096, 4096}},
      {"model.layers.7.post_attention_layernorm.weight", {4096}},
      {"model.layers.7.block_sparse_moe.gate.weight", {8, 4096}},
      {"model.layers.7.block_sparse_moe.experts.5.w1.weight", {14336, 4096}},
      {"model.layers.7.block_sparse_moe.experts.5.w2.weight", {4096, 14336}},
      {"model.layers.7.block_sparse_moe.experts.5.w3.weight", {14336, 4096}},
      {"model.norm.weight", {4096}},
      {"lm_head.weight", {32000, 4096}}};
  for (const auto& [name, shape] : kShapes) {
    const int index = table.Find(name);
    ASSERT_GE(index, 0) << name;
    EXPECT_EQ(table.parameters()[static_cast<size_t>(index)].shape, shape);
  }
  EXPECT_EQ(table.Find("model.layers.32.input_layernorm.weight"), -1);
}

TEST(ParameterTable, SizesAddUpToCountParameters) {
  for (const NetworkCase& c : AllNetworkCases()) {
    const ModelConfig model = SmallModel(c);
    const ParameterTable table = TableOf(model, 1, 1, 0);
    int64_t total = 0;
    for (const Parameter& parameter : table.parameters())
      total += parameter.size;
    EXPECT_EQ(total, CountParameters(model).total) << NameOf(c);
  }
}

TEST(ParameterTable, DecayIsForMatricesOnly) {
  const ParameterTable table = TableOf(Mixtral8x7B(), 1, 1, 0);
  for (const Parameter& parameter : table.parameters()) {
    EXPECT_EQ(parameter.decay, parameter.shape.size() == 2) << parameter.name;
    EXPECT_EQ(parameter.is_norm, parameter.shape.size() == 1);
  }
}

TEST(ParameterTable, NormsAndGatesStayFloat32) {
  const ModelConfig model = EightExperts();
  const Mesh mesh = Mesh::Create(1, 1, 1, 8).value();
  const ParameterTable table(model, DType::kBFloat16, mesh, 0);
  for (const Parameter& parameter : table.parameters()) {
    const bool keeps_float32 =
        parameter.is_norm ||
        parameter.name.find("gate.weight") != std::string::npos;
    EXPECT_EQ(table.ArenaDType(parameter.arena),
              keeps_float32 ? DType::kFloat32 : DType::kBFloat16)
        << parameter.name;
  }
}

TEST(ParameterTable, LocalParametersFillTheirArenasWithoutOverlap) {
  const ModelConfig model = EightExperts();
  for (int expert : {1, 2, 4, 8}) {
    for (int rank = 0; rank < 8; ++rank) {
      const ParameterTable table = TableOf(model, 8, expert, rank);
      std::map<ArenaKind, int64_t> end;
      for (const Parameter& parameter : table.parameters()) {
        if (!parameter.local) continue;
        EXPECT_EQ(parameter.offset, end[parameter.arena]) << parameter.name;
        end[parameter.arena] += parameter.size;
      }
      for (ArenaKind kind : kAllArenaKinds) {
        const int replicas = kind == ArenaKind::kExpert ? 8 / expert : 8;
        const int64_t unit = ParameterTable::kAlignment * replicas;
        EXPECT_EQ(table.ArenaSize(kind) % unit, 0);
        EXPECT_GE(table.ArenaSize(kind), end[kind]);
        EXPECT_LT(table.ArenaSize(kind), end[kind] + unit);
      }
    }
  }
}

TEST(ParameterTable, SlicesOfATensorGroupTileEveryTensor) {
  ModelConfig model = EightExperts();
  model.set_num_key_value_heads(4);
  for (int tensor : {1, 2, 4}) {
    const Mesh mesh = Mesh::Create(4, tensor, 1, 8).value();
    std::map<std::string, std::vector<int>> holders;  // of each element
    for (int rank = 0; rank < tensor; ++rank) {
      const ParameterTable table(model, DType::kFloat32, mesh, rank);
      for (const Parameter& parameter : table.parameters()) {
        std::vector<int>& count = holders[parameter.name];
        count.resize(static_cast<size_t>(parameter.size));
        const int64_t size = parameter.slice.size();
        int64_t visited = 0;
        // In two parts, cut in the middle of a row.
        for (const auto& [begin, end] :
             {std::pair(int64_t{0}, size / 3), std::pair(size / 3, size)}) {
          ForEachRun(parameter.slice, parameter.num_columns(), begin,
                     end - begin,
                     [&](int64_t in_tensor, int64_t in_slice, int64_t run) {
                       EXPECT_EQ(in_slice, visited);
                       visited += run;
                       for (int64_t i = 0; i < run; ++i)
                         ++count[static_cast<size_t>(in_tensor + i)];
                     });
        }
        EXPECT_EQ(visited, size);
      }
    }
    const ParameterTable table(model, DType::kFloat32, mesh, 0);
    for (const Parameter& parameter : table.parameters()) {
      const bool is_split = parameter.arena == ArenaKind::kTensor;
      EXPECT_THAT(holders[parameter.name], testing::Each(is_split ? 1 : tensor))
          << parameter.name;
    }
  }
}

TEST(ParameterTable, AnExpertGroupHoldsEveryExpertOnceAndAllElseEverywhere) {
  const ModelConfig model = EightExperts();
  for (int expert : {1, 2, 4, 8}) {
    const Mesh mesh = Mesh::Create(8, 1, expert, 8).value();
    std::map<std::string, std::vector<int>> holders;
    for (int rank = 0; rank < 8; ++rank) {
      const ParameterTable table(model, DType::kFloat32, mesh, rank);
      for (const Parameter& parameter : table.parameters())
        if (parameter.local) holders[parameter.name].push_back(rank);
    }
    const ParameterTable table = TableOf(model, 1, 1, 0);
    for (const Parameter& parameter : table.parameters()) {
      const std::vector<int>& ranks = holders[parameter.name];
      ASSERT_FALSE(ranks.empty()) << parameter.name;
      // Exactly the ranks that reduce it together.
      EXPECT_EQ(ranks,
                mesh.Members(ReductionAxis(parameter.arena), ranks.front()))
          << parameter.name;
    }
  }
}

TEST(ParameterTable, ARoleNamesOneParameter) {
  for (bool tied : {false, true}) {
    const ParameterTable table = TableOf(SmallModel({.tied = tied}), 1, 1, 0);
    for (size_t i = 0; i < table.parameters().size(); ++i) {
      const Parameter& parameter = table.parameters()[i];
      EXPECT_EQ(table.Find(parameter.role, parameter.layer, parameter.expert),
                static_cast<int>(i))
          << parameter.name;
    }
    EXPECT_EQ(table.Find(Role::kHead) < 0, tied);
    EXPECT_EQ(table.Find(Role::kRouter), -1);
    EXPECT_EQ(table.Find(Role::kExpertUp, 0, 1000), -1);
  }
}

TEST(ParameterTable, RangesCoverAllParametersInForwardOrder) {
  for (bool tied : {false, true}) {
    const ParameterTable table = TableOf(SmallModel({.tied = tied}), 1, 1, 0);
    int next = 0;
    auto expect_next = [&next](ParameterRange range) {
      EXPECT_EQ(range.begin, next);
      EXPECT_GT(range.end, range.begin);
      next = range.end;
    };
    expect_next(table.embedding());
    for (int layer = 0; layer < 2; ++layer) {
      expect_next(table.attention(layer));
      expect_next(table.moe(layer));
    }
    expect_next(table.head());
    EXPECT_EQ(next, static_cast<int>(table.parameters().size()));
    EXPECT_EQ(table.Find("lm_head.weight") < 0, tied);
  }
}

// All but the experts lie where they lay, and the frozen ones beside them.
TEST(ParameterTable, FrozenParametersLieInArenasOfTheirOwn) {
  const ModelConfig model = EightExperts();
  const Mesh mesh = Mesh::Create(4, 1, 2, 8).value();
  const ParameterTable all(model, DType::kBFloat16, mesh, /*rank=*/1);
  const ParameterTable table(
      model, DType::kBFloat16, mesh, /*rank=*/1,
      [](const Parameter& parameter) { return parameter.expert < 0; });
  EXPECT_TRUE(table.CheckTrained().ok());
  for (size_t i = 0; i < table.parameters().size(); ++i) {
    const Parameter& parameter = table.parameters()[i];
    const Parameter& same = all.parameters()[i];
    EXPECT_TRUE(same.trained);
    EXPECT_EQ(parameter.trained, parameter.expert < 0) << parameter.name;
    EXPECT_EQ(parameter.offset, same.offset) << parameter.name;
    EXPECT_EQ(parameter.arena,
              parameter.trained ? same.arena : ArenaKind::kFrozenExpert);
  }
  EXPECT_EQ(table.ArenaSize(ArenaKind::kExpert), 0);
  EXPECT_EQ(table.ArenaSize(ArenaKind::kFrozenExpert),
            all.ArenaSize(ArenaKind::kExpert));
  for (ArenaKind kind : kAllArenaKinds) {
    if (IsTrained(kind)) continue;
    EXPECT_EQ(all.ArenaSize(kind), 0) << RowOf(kind).name;
  }
  EXPECT_EQ(table.ArenaDType(ArenaKind::kFrozenExpert), DType::kBFloat16);
  EXPECT_EQ(table.ArenaDType(ArenaKind::kFrozenReplicated), DType::kFloat32);
}

ParameterTable FrozenTable(const TrainedPredicate& trained) {
  const ModelConfig model = EightExperts();
  // Rank 0 has experts 0 and 1 alone: what it says does not hang on that.
  const Mesh mesh = Mesh::Create(4, 1, 4, 8).value();
  return ParameterTable(model, DType::kFloat32, mesh, /*rank=*/0, trained);
}

TEST(ParameterTable, WhatALayerUsesAsOneIsTrainedOrFrozenTogether) {
  EXPECT_TRUE(FrozenTable([](const Parameter& p) {
                return p.role == Role::kExpertDown ||
                       p.role == Role::kAttentionOutput || p.layer == 1;
              })
                  .CheckTrained()
                  .ok());
  for (const Role role : {Role::kQuery, Role::kKey, Role::kValue,
                          Role::kExpertGate, Role::kExpertUp}) {
    const absl::Status status = FrozenTable([role](const Parameter& p) {
                                  return p.role != role;
                                }).CheckTrained();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                testing::HasSubstr("must be trained or frozen together"));
  }
  EXPECT_EQ(FrozenTable([](const Parameter& p) { return p.expert != 7; })
                .CheckTrained()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ParameterTable, TheFirstTrainedIsTheLowest) {
  EXPECT_EQ(FrozenTable(nullptr).FirstTrained(), 0);
  const ParameterTable table =
      FrozenTable([](const Parameter& p) { return p.layer == 1; });
  EXPECT_EQ(table.FirstTrained(), table.attention(1).begin);
  EXPECT_EQ(FrozenTable([](const Parameter&) { return false; }).FirstTrained(),
            static_cast<int>(table.parameters().size()));
}

}  // namespace
}  // namespace moe
