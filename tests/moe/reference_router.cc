#include "tests/moe/reference_router.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace moe::reference {
namespace {

using Routes = std::vector<std::vector<Route>>;  // [layer][token]

// A set of (layer, token) over which f and P are averaged, and the weight of
// its E sum_e f_e P_e in the loss.
struct Scope {
  std::vector<size_t> layers;
  size_t begin_token = 0;
  size_t end_token = 0;
  double choices_per_token = 1;  // what f is divided by, besides the tokens
  double weight = 1;
};

void AddScope(const Routes& routes, const Scope& scope, AuxLoss& loss) {
  const size_t num_experts = routes[0][0].probabilities.size();
  Vector f(num_experts);
  Vector mean_p(num_experts);
  const double tokens = static_cast<double>(
      scope.layers.size() * (scope.end_token - scope.begin_token));
  for (size_t layer : scope.layers) {
    for (size_t t = scope.begin_token; t < scope.end_token; ++t) {
      const Route& route = routes[layer][t];
      for (size_t e : route.experts)
        f[e] += 1 / (tokens * scope.choices_per_token);
      for (size_t e = 0; e < num_experts; ++e)
        mean_p[e] += route.probabilities[e] / tokens;
    }
  }
  const double weight = scope.weight * static_cast<double>(num_experts);
  loss.value += weight * Dot(f, mean_p);
  for (size_t layer : scope.layers)
    for (size_t t = scope.begin_token; t < scope.end_token; ++t)
      for (size_t e = 0; e < num_experts; ++e)
        loss.d_probabilities[layer][t][e] += weight * f[e] / tokens;
}

std::vector<Scope> Scopes(const Routes& routes, size_t length,
                          size_t global_sequences, const RouterConfig& config) {
  const size_t tokens = routes[0].size();
  const double top_k = static_cast<double>(routes[0][0].experts.size());
  const double one_sequence = 1 / static_cast<double>(global_sequences);
  const double all_sequences =
      static_cast<double>(tokens / length) * one_sequence;
  std::vector<size_t> layers(routes.size());
  std::iota(layers.begin(), layers.end(), size_t{0});
  if (config.aux_loss_semantics() == RouterConfig::HF_MIXTRAL)
    return {{layers, 0, tokens, 1, all_sequences}};
  std::vector<Scope> scopes;
  for (size_t layer : layers) {
    if (config.aux_loss_scope() == RouterConfig::MICRO_BATCH) {
      scopes.push_back({{layer}, 0, tokens, top_k, all_sequences});
      continue;
    }
    for (size_t begin = 0; begin < tokens; begin += length)
      scopes.push_back({{layer}, begin, begin + length, top_k, one_sequence});
  }
  return scopes;
}

}  // namespace

Route Choose(const Vector& logits, size_t top_k, bool renormalize) {
  Route route;
  route.log_sum_exp = LogSumExp(logits);
  route.probabilities = Softmax(logits);
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return route.probabilities[a] > route.probabilities[b];
  });
  order.resize(top_k);
  route.experts = order;
  route.kept.assign(top_k, true);
  double sum = 0;
  for (size_t e : order) {
    route.weights.push_back(route.probabilities[e]);
    sum += route.probabilities[e];
  }
  if (renormalize)
    for (double& weight : route.weights) weight /= sum;
  return route;
}

void DropBeyondCapacity(Routes::value_type& routes,
                        const RouterConfig& config) {
  if (config.capacity_factor() == 0) return;
  const size_t num_experts = routes[0].probabilities.size();
  const size_t capacity = static_cast<size_t>(
      std::ceil(config.capacity_factor() *
                static_cast<double>(routes.size() * routes[0].experts.size()) /
                static_cast<double>(num_experts)));
  for (size_t e = 0; e < num_experts; ++e) {
    std::vector<std::pair<Route*, size_t>> takers;  // a token and its choice
    for (Route& route : routes)
      for (size_t k = 0; k < route.experts.size(); ++k)
        if (route.experts[k] == e) takers.emplace_back(&route, k);
    if (takers.size() <= capacity) continue;
    const bool by_probability =
        config.drop_policy() == RouterConfig::PROBABILITY;
    if (by_probability) {
      std::stable_sort(takers.begin(), takers.end(), [e](auto& a, auto& b) {
        return a.first->probabilities[e] > b.first->probabilities[e];
      });
    }
    const double least = takers[capacity - 1].first->probabilities[e];
    for (size_t i = capacity; i < takers.size(); ++i) {
      auto& [route, k] = takers[i];
      route->kept[k] = false;
      if (by_probability)
        route->drop_margin =
            std::min(route->drop_margin, least - route->probabilities[e]);
    }
  }
}

Vector ChooseBackward(const Vector& d_weights, const Vector& d_probabilities,
                      double d_log_sum_exp, const Route& route,
                      bool renormalize) {
  Vector d_p = d_probabilities;
  double sum = 0;
  for (size_t e : route.experts) sum += route.probabilities[e];
  for (size_t k = 0; k < route.experts.size(); ++k) {
    // w_k = p_k / sum: every chosen p is in the sum.
    d_p[route.experts[k]] +=
        renormalize ? (d_weights[k] - Dot(d_weights, route.weights)) / sum
                    : d_weights[k];
  }
  const double mean = Dot(d_p, route.probabilities);
  Vector d_logits;
  for (size_t e = 0; e < d_p.size(); ++e)
    d_logits.push_back(route.probabilities[e] *
                       (d_p[e] - mean + d_log_sum_exp));
  return d_logits;
}

AuxLoss ComputeAuxLoss(const Routes& routes, size_t length,
                       size_t global_sequences, const RouterConfig& config) {
  AuxLoss loss;
  const size_t num_experts = routes[0][0].probabilities.size();
  loss.d_probabilities.assign(routes.size(),
                              Rows(routes[0].size(), Vector(num_experts)));
  for (const Scope& scope : Scopes(routes, length, global_sequences, config))
    AddScope(routes, scope, loss);
  return loss;
}

}  // namespace moe::reference
