"""Near-duplicate search by vectors: k-means clusters, and exhaustive search within them.

The steps, each in its module:

- `kmeans` scales the clips' vectors to length 1 and fits cluster centers to a sample of them.
- `assign` gives each vector its home cluster, the clusters that it probes, and its `ranking` keys.
- `levels` links each vector of a cluster, in ranking order, to the nearest representative before
  it, which `neighbors` searches.
- `incremental` searches, for the new vectors of a later dedup run, the nearest representatives that
  earlier runs stored; `levels` links to these too, and what is stored does not change.

`params` holds the settings of these steps ([dedup]), `arrow` converts columns to matrices, and
`topk` answers a search by one vector.
"""
