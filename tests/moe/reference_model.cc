#include "tests/moe/reference_model.h"

#include <utility>

namespace moe::reference {
namespace {

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kNorm[] = "model.norm.weight";

Rows Embed(const std::vector<int32_t>& ids, const Vector& table, size_t width) {
  Rows x;
  for (int32_t id : ids) {
    const auto row = table.begin() +
                     static_cast<ptrdiff_t>(id) * static_cast<ptrdiff_t>(width);
    x.emplace_back(row, row + static_cast<ptrdiff_t>(width));
  }
  return x;
}

void EmbedBackward(const Rows& d_x, const std::vector<int32_t>& ids,
                   Vector& d_table) {
  for (size_t t = 0; t < ids.size(); ++t) {
    const size_t row = static_cast<size_t>(ids[t]) * d_x[t].size();
    for (size_t i = 0; i < d_x[t].size(); ++i) d_table[row + i] += d_x[t][i];
  }
}

// The last norm, the logits and their cross-entropy, each target weighing
// `scale`; returns the gradient of x.
Rows Head(const Rows& x, const std::vector<int32_t>& targets, double scale,
          const std::string& head, Parameters& parameters, Result& result) {
  Rows d_x;
  for (size_t t = 0; t < x.size(); ++t) {
    const Vector normed = parameters.Norm(x[t], kNorm);
    const Vector logits = parameters.Project(normed, head);
    result.logits.push_back(logits);
    if (targets[t] == -1) {
      d_x.emplace_back(x[t].size());
      continue;
    }
    const size_t target = static_cast<size_t>(targets[t]);
    result.losses.cross_entropy += (LogSumExp(logits) - logits[target]) * scale;
    Vector d_logits = Softmax(logits);
    d_logits[target] -= 1;
    for (double& value : d_logits) value *= scale;
    d_x.push_back(parameters.NormBackward(
        parameters.ProjectBackward(d_logits, normed, head), x[t], kNorm));
  }
  return d_x;
}

// The lengths of the documents, or of the sequences where these are one each.
std::vector<size_t> DocumentLengths(const Tokens& tokens) {
  std::vector<size_t> lengths;
  for (size_t t = 0; t < tokens.inputs.size(); ++t) {
    const bool begins = tokens.positions.empty() ? t % tokens.length == 0
                                                 : tokens.positions[t] == 0;
    if (begins) lengths.push_back(0);
    ++lengths.back();
  }
  return lengths;
}

struct GlobalSize {
  size_t tokens = 0;
  size_t targets = 0;
};

// One micro-step of a global batch of that size.
void Step(const ModelConfig& model, const RouterConfig& router,
          const Tensors& weights, const Tokens& tokens, const GlobalSize& size,
          bool backward, Result& result) {
  Parameters parameters(weights, result.gradients, model.rms_norm_eps());
  const double scale = 1 / static_cast<double>(size.tokens);
  std::vector<Block> blocks;
  std::vector<std::vector<Route>> routes;
  Rows x = Embed(tokens.inputs, parameters.Weight(kEmbedding),
                 static_cast<size_t>(model.hidden_size()));
  for (size_t layer = 0; layer < result.routes.size(); ++layer) {
    blocks.emplace_back(model, router, layer, tokens.length,
                        DocumentLengths(tokens), parameters);
    x = blocks[layer].Forward(x);
    routes.push_back(blocks[layer].routes());
    for (const Route& route : routes[layer]) {
      result.losses.z += route.log_sum_exp * route.log_sum_exp * scale;
      result.routes[layer].push_back(route);
    }
  }
  const AuxLoss aux = ComputeAuxLoss(routes, tokens.length,
                                     size.tokens / tokens.length, router);
  result.losses.aux += aux.value;
  Rows d_x = Head(x, tokens.targets, 1 / static_cast<double>(size.targets),
                  model.tie_word_embeddings() ? kEmbedding : "lm_head.weight",
                  parameters, result);
  if (!backward) return;
  for (size_t layer = blocks.size(); layer-- > 0;) {
    d_x = blocks[layer].Backward(d_x, aux.d_probabilities[layer],
                                 router.z_loss_coefficient() * scale);
  }
  EmbedBackward(d_x, tokens.inputs, parameters.Gradient(kEmbedding));
}

}  // namespace

double Total(const Losses& losses, const RouterConfig& router) {
  return losses.cross_entropy + router.aux_loss_coefficient() * losses.aux +
         router.z_loss_coefficient() * losses.z;
}

Result Compute(const ModelConfig& model, const RouterConfig& router,
               const Tensors& weights, const std::vector<Tokens>& micro_steps,
               bool backward) {
  Result result;
  result.routes.resize(static_cast<size_t>(model.num_hidden_layers()));
  for (const auto& [name, values] : weights)
    result.gradients[name] = Vector(values.size());
  GlobalSize size;
  for (const Tokens& tokens : micro_steps) {
    size.tokens += tokens.inputs.size();
    for (int32_t target : tokens.targets) size.targets += target != -1 ? 1 : 0;
  }
  for (const Tokens& tokens : micro_steps)
    Step(model, router, weights, tokens, size, backward, result);
  return result;
}

}  // namespace moe::reference
