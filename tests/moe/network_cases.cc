#include "tests/moe/network_cases.h"

#include <algorithm>
#include <random>
#include <utility>

#include "comm/mesh.h"
#include "moe/parameters/parameter_table.h"

namespace moe {

std::vector<NetworkCase> AllNetworkCases() {
  constexpr std::pair<RouterConfig::AuxLossSemantics,
                      RouterConfig::AuxLossScope>
      kAuxLosses[] = {{RouterConfig::SWITCH, RouterConfig::SEQUENCE},
                      {RouterConfig::SWITCH, RouterConfig::MICRO_BATCH},
                      {RouterConfig::HF_MIXTRAL, RouterConfig::MICRO_BATCH}};
  constexpr std::pair<double, RouterConfig::DropPolicy> kCapacities[] = {
      {0, RouterConfig::PROBABILITY},
      {kTightCapacity, RouterConfig::PROBABILITY},
      {kTightCapacity, RouterConfig::POSITION}};
  std::vector<NetworkCase> cases;
  for (const auto& [semantics, scope] : kAuxLosses)
    for (int top_k : {1, 2, 3})
      for (bool renormalize : {true, false})
        for (bool z_loss : {false, true})
          for (bool tied : {false, true})
            for (const auto& [capacity_factor, drop_policy] : kCapacities)
              cases.push_back({semantics, scope, top_k, renormalize, z_loss,
                               tied, capacity_factor, drop_policy});
  return cases;
}

std::string NameOf(const NetworkCase& c) {
  std::string name =
      c.semantics == RouterConfig::SWITCH ? "Switch" : "HfMixtral";
  name += c.scope == RouterConfig::SEQUENCE ? "Sequence" : "MicroBatch";
  name += "Top" + std::to_string(c.top_k);
  if (c.renormalize) name += "Renormalized";
  if (c.z_loss) name += "ZLoss";
  if (c.tied) name += "Tied";
  if (c.capacity_factor != 0) {
    name += c.drop_policy == RouterConfig::POSITION ? "DropByPosition"
                                                    : "DropByProbability";
  }
  return name;
}

void PrintTo(const NetworkCase& c, std::ostream* out) { *out << NameOf(c); }

ModelConfig Mixtral8x7B() {
  ModelConfig model;
  model.set_vocab_size(32000);
  model.set_hidden_size(4096);
  model.set_intermediate_size(14336);
  model.set_num_hidden_layers(32);
  model.set_num_attention_heads(32);
  model.set_num_key_value_heads(8);
  model.set_num_local_experts(8);
  model.set_num_experts_per_tok(2);
  return model;
}

ModelConfig SmallModel(const NetworkCase& c) {
  ModelConfig model;
  model.set_vocab_size(23);
  model.set_hidden_size(10);
  model.set_intermediate_size(7);
  model.set_num_hidden_layers(2);
  model.set_num_attention_heads(4);
  model.set_num_key_value_heads(2);
  model.set_head_dim(6);
  model.set_num_local_experts(5);
  model.set_num_experts_per_tok(c.top_k);
  model.set_rope_theta(100);
  model.set_tie_word_embeddings(c.tied);
  return model;
}

RouterConfig SmallRouter(const NetworkCase& c) {
  RouterConfig router;
  router.set_aux_loss_semantics(c.semantics);
  router.set_aux_loss_scope(c.scope);
  router.set_aux_loss_coefficient(0.3);
  router.set_z_loss_coefficient(c.z_loss ? 0.2 : 0.0);
  router.set_renormalize(c.renormalize);
  router.set_capacity_factor(c.capacity_factor);
  router.set_drop_policy(c.drop_policy);
  return router;
}

reference::Tensors RandomWeights(const ModelConfig& model, uint32_t seed) {
  const Mesh mesh = Mesh::Create(1, 1, 1, model.num_local_experts()).value();
  const ParameterTable table(model, DType::kFloat32, mesh, /*rank=*/0);
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0.0, 0.3);
  reference::Tensors weights;
  for (const Parameter& parameter : table.parameters()) {
    reference::Vector& values = weights[parameter.name];
    for (int64_t i = 0; i < parameter.size; ++i) {
      const double value = (parameter.is_norm ? 1 : 0) + normal(generator);
      values.push_back(static_cast<float>(value));
    }
  }
  return weights;
}

reference::Tokens RandomTokens(const ModelConfig& model, size_t sequences,
                               size_t length, uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int32_t> token(0, model.vocab_size() - 1);
  reference::Tokens tokens;
  tokens.length = length;
  for (size_t i = 0; i < sequences * length; ++i) {
    tokens.inputs.push_back(token(generator));
    tokens.targets.push_back(token(generator));
  }
  return tokens;
}

void CutIntoDocuments(reference::Tokens& tokens,
                      const std::vector<size_t>& lengths) {
  size_t document = 0;
  size_t left = lengths[0];
  int32_t position = 0;
  for (size_t t = 0; t < tokens.inputs.size(); ++t) {
    if (t % tokens.length == 0) position = 0;
    tokens.positions.push_back(position++);
    if (--left > 0) continue;
    tokens.targets[t] = -1;
    document = (document + 1) % lengths.size();
    left = lengths[document];
    position = 0;
  }
}

reference::Tokens GoldenTokens(const GoldenFile& golden) {
  return {.inputs = golden.Inputs("tokens"),
          .targets = golden.Targets("tokens"),
          .length = static_cast<size_t>(golden.Shape("tokens").back()) - 1};
}

double RoutingMargin(const reference::Result& result) {
  double margin = 1;
  for (const auto& layer : result.routes) {
    for (const reference::Route& route : layer) {
      margin = std::min(margin, route.drop_margin);
      reference::Vector sorted = route.probabilities;
      std::sort(sorted.rbegin(), sorted.rend());
      const size_t k = route.experts.size();
      if (k < sorted.size())
        margin = std::min(margin, sorted[k - 1] - sorted[k]);
    }
  }
  return margin;
}

int NumDropped(const reference::Result& result) {
  std::ptrdiff_t dropped = 0;
  for (const auto& layer : result.routes)
    for (const reference::Route& route : layer)
      dropped += std::count(route.kept.begin(), route.kept.end(), false);
  return static_cast<int>(dropped);
}

}  // namespace moe
